"""JUnit XML, for build servers: every check and every limit is a test case."""

from __future__ import annotations

import re
from xml.etree import ElementTree as Xml

from crenel.policy import Judgement
from crenel.report.view import Change, view
from crenel.run import Outcome, Run, State

#: Characters that XML 1.0 cannot hold.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_junit(run: Run) -> str:
    """The run as JUnit XML.

    A limit that is exceeded is a failure. What is incomplete, inconclusive, crashed or was left
    out is an error, never a pass; what does not apply is skipped.
    """
    root = Xml.Element("testsuites", name="crenel")
    _suite(root, f"{run.target.name} checks", [_check(o) for o in run.outcomes], run)
    judged = view(run).judged
    cases = [_limit(j, c) for j, c in zip(run.policy.limits, judged, strict=True)]
    if run.run.status != "complete":
        case = Xml.Element("testcase", classname="crenel", name="the run is complete")
        _note(case, "error", run.run.status, f"the run is {run.run.status}")
        cases.append(case)
    _suite(root, f"{run.target.name} limits", cases, run)
    Xml.indent(root)
    head = '<?xml version="1.0" encoding="utf-8"?>\n'
    return head + Xml.tostring(root, encoding="unicode") + "\n"


def _suite(root: Xml.Element, name: str, cases: list[Xml.Element], run: Run) -> None:
    def total(kind: str) -> str:
        return str(sum(case.find(kind) is not None for case in cases))

    suite = Xml.SubElement(
        root,
        "testsuite",
        name=_clean(name),
        tests=str(len(cases)),
        failures=total("failure"),
        errors=total("error"),
        skipped=total("skipped"),
        timestamp=run.run.created,
        time=f"{sum(float(case.get('time', 0)) for case in cases):.3f}",
    )
    suite.extend(cases)


def _check(o: Outcome) -> Xml.Element:
    name = f"{o.check} {o.title}".strip() + (f" on {o.target}" if o.target else "")
    case = Xml.Element(
        "testcase", classname=f"crenel.{o.risk}", name=_clean(name), time=f"{o.seconds:.3f}"
    )
    if o.outcome is State.NOT_APPLICABLE:
        _note(case, "skipped", o.outcome, o.reason)
    elif o.outcome is not State.MEASURED:
        _note(case, "error", o.outcome, o.reason)
    return case


def _limit(j: Judgement, told: Change) -> Xml.Element:
    name = j.limit.sentence() + (f" on {j.target}" if j.target else "")
    case = Xml.Element("testcase", classname="crenel.policy", name=_clean(name), time="0")
    if j.status == "fail":
        _note(case, "failure", j.status, told.text)
    elif j.status == "not_applicable":
        _note(case, "skipped", j.status, told.text)
    elif j.status != "pass":
        _note(case, "error", j.status, told.text)
    return case


def _note(case: Xml.Element, kind: str, type_: str, message: str) -> None:
    Xml.SubElement(case, kind, type=str(type_), message=_clean(message))


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
