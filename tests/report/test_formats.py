import json
import re
from xml.etree import ElementTree as Xml

import pytest

from crenel.report.junit import to_junit
from crenel.report.markdown import escape, to_markdown
from crenel.report.sarif import target_lines, to_sarif
from crenel.run import Outcome, Run
from tests.report import fixture


@pytest.fixture
def log():
    return json.loads(to_sarif(fixture.run(), lines={"phishing": 7}))


def test_sarif_has_what_the_standard_requires(log):
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "crenel"
    rules = [rule["id"] for rule in driver["rules"]]
    assert len(rules) == len(set(rules))
    for rule in driver["rules"]:
        assert rule["shortDescription"]["text"]
        assert 0 < float(rule["properties"]["security-severity"]) <= 10
        assert len(rule["properties"]["tags"]) > 2
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note")
        assert result["message"]["text"]
        place = result["locations"][0]["physicalLocation"]
        assert not place["artifactLocation"]["uri"].startswith("/")
        assert place["region"]["startLine"] >= 1
        assert re.fullmatch(r"[a-z]{3}-[0-9a-f]{8}", result["partialFingerprints"]["crenel/v1"])


def test_sarif_results_are_the_findings(log):
    results = {r["partialFingerprints"]["crenel/v1"]: r for r in log["runs"][0]["results"]}
    for f in fixture.run().findings:
        result = results.pop(f.fingerprint)
        assert result["ruleId"] == f.check
        assert ("suppressions" in result) == (f.status == "accepted")
        line = result["locations"][0]["physicalLocation"]["region"]["startLine"]
        assert line == (7 if f.target == "phishing" else 1)
    assert not results


def test_sarif_tells_that_a_check_crashed(log):
    (invocation,) = log["runs"][0]["invocations"]
    assert invocation["executionSuccessful"] is False
    notes = invocation["toolExecutionNotifications"]
    assert [n["descriptor"]["id"] for n in notes if n["level"] == "error"] == ["POI-103"]


def test_sarif_baseline_states_are_on_all_results_or_none(log):
    assert not any("baselineState" in r for r in log["runs"][0]["results"])
    first, *rest = fixture.findings()
    run = fixture.run(findings=(first.model_copy(update={"status": "known"}), *rest))
    states = [r["baselineState"] for r in json.loads(to_sarif(run))["runs"][0]["results"]]
    assert sorted(states) == ["new", "new", "new", "unchanged"]


def test_target_lines_finds_the_sections():
    text = '[audit]\n[target.a]\nx = 1\n[target.a.features]\n[tool.crenel.target."b c"]\n'
    assert target_lines(text) == {"a": 2, "b c": 5}


def cases(run: Run):
    root = Xml.fromstring(to_junit(run))
    return {suite.get("name"): list(suite) for suite in root}, root


def test_junit_has_a_case_for_each_check_and_limit():
    run = fixture.run()
    suites, root = cases(run)
    assert [len(v) for v in suites.values()] == [len(run.outcomes), len(run.policy.limits)]
    for suite in root:
        for kind, name in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.get(kind)) == sum(c.find(name) is not None for c in suite)
        assert int(suite.get("tests")) == len(suite)


def test_junit_fails_and_errs_where_the_policy_does():
    run = fixture.run()
    suites, _ = cases(run)
    limits = suites["demo limits"]
    for case, j in zip(limits, run.policy.limits, strict=True):
        kinds = [child.tag for child in case]
        wanted = {"pass": [], "fail": ["failure"], "incomplete": ["error"]}
        assert kinds == wanted.get(j.status, ["skipped"])
        assert all(child.get("message") for child in case)


@pytest.mark.parametrize("state", ["error", "not_run", "inconclusive"])
def test_junit_never_passes_a_check_without_an_answer(state):
    outcome = Outcome(check="EVA-101", risk="evasion", outcome=state, reason="no \x00 answer")
    suites, _ = cases(fixture.run(outcomes=(outcome,), exposures=(), findings=()))
    assert suites["demo checks"][0].find("error").get("type") == state


def test_junit_of_an_interrupted_run_has_an_error():
    info = fixture.run().run.model_copy(update={"status": "interrupted"})
    suites, _ = cases(fixture.run(run=info))
    assert suites["demo limits"][-1].find("error").get("message") == "the run is interrupted"


def test_markdown_is_short_and_complete():
    text = to_markdown(fixture.run())
    assert len(text.splitlines()) < 40
    assert text.startswith("## crenel: Fail: 3 of 10 limits exceeded.")
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert [r.split(" | ")[0][2:] for r in rows] == [
        "evasion", "poisoning", "online", "transfer", "confidentiality",
    ]  # fmt: skip
    assert "POI-103 · phishing, error" in text.replace("\\", "")
    assert "accepted" not in text


def test_markdown_of_hostile_names_is_text():
    text = to_markdown(fixture.run())
    assert "<script" not in text.replace("\\<", "")
    assert escape("a|b\n`c` <d> *e*") == r"a\|b \`c\` \<d\> \*e\*"
