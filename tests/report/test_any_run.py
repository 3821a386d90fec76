"""What was measured must never be lost because it could not be shown."""

import io
import json
import re
from xml.etree import ElementTree as Xml

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from rich.console import Console

from crenel.access import Access
from crenel.exposure import Budget, Exposure, Harm, Health, HealthTest
from crenel.finding import Edit, Evidence, Example, Finding, Severity
from crenel.policy import Limit, Policy
from crenel.report import formats
from crenel.report.json import from_json, to_json
from crenel.report.terminal import render
from crenel.run import Outcome, State
from tests.report import fixture

#: Without shrinking: a run is small, and rendering it in six formats is not free.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)

words = st.text(max_size=24)
checks = st.sampled_from(["EVA-102", "POI-101", "X"])
risks = st.sampled_from(["evasion", "poisoning", "weather"])
targets = st.sampled_from(["", "phishing", "digits"])
numbers = st.floats(-1e9, 1e9) | st.floats(0, 1) | st.integers(0, 10).map(float)


@st.composite
def exposures(draw):
    budgets = sorted(draw(st.lists(numbers, min_size=1, max_size=6, unique=True)))
    harms = draw(st.lists(st.tuples(numbers, numbers, numbers), min_size=6, max_size=6))
    low, values, high = zip(*(sorted(h) for h in harms[: len(budgets)]))
    open_to = high if draw(st.booleans()) else ()
    tests = draw(st.lists(st.builds(HealthTest, name=words, ok=st.booleans()), max_size=2))
    return Exposure(
        check=draw(checks), risk=draw(risks), target=draw(targets), series=draw(words),
        role=draw(st.sampled_from(["attack", "reference", "control"])),
        access=Access(), n=3, seed=0, health=Health.of(*tests), headline=draw(words),
        budget=Budget(
            name=draw(words), unit=draw(words | st.just("share")), values=tuple(budgets),
            scale=draw(st.sampled_from(["linear", "log"])),
        ),
        harm=Harm(
            name=draw(words), unit=draw(words | st.just("share")),
            values=values, low=low, high=high, possible=open_to, possible_high=open_to,
        ),
    )  # fmt: skip


findings = st.builds(
    Finding, check=checks, risk=risks, target=targets, severity=st.sampled_from(Severity),
    subject=words, sentence=words, attack=words, fix=words, gain=st.floats(0, 1),
    evidence=st.builds(Evidence, rows=st.just((1, "<b>")), values=st.dictionaries(words, words)),
    examples=st.lists(
        st.builds(
            Example, title=words, text=words, images=st.just(("data:,",)),
            edits=st.lists(
                st.builds(Edit, field=words, before=words, after=words), max_size=2
            ).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
    status=st.sampled_from(["open", "accepted", "known"]),
    fingerprint=st.just(""),
)  # fmt: skip
outcomes = st.builds(
    Outcome, check=checks, risk=risks, target=targets, title=words,
    outcome=st.sampled_from(State), reason=words, seconds=st.floats(0, 1e5),
)  # fmt: skip
limits = st.builds(Limit, check=checks, budget=numbers, harm=st.floats(0, 1))


@given(
    st.lists(exposures(), max_size=4), st.lists(findings, max_size=3),
    st.lists(outcomes, max_size=4), st.lists(limits, max_size=3), st.integers(40, 160),
)  # fmt: skip
@settings(
    max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None, phases=PHASES
)
def test_any_run_can_be_shown_in_every_format(curves, weak, ends, policy, width):
    run = fixture.run(
        exposures=tuple(curves), before=tuple(curves[:1]), findings=tuple(weak),
        outcomes=tuple(ends), policy=Policy(limits=tuple(policy)),
    )  # fmt: skip
    texts = {name: formats.render(run, name) for name in formats.FORMATS}
    assert all(texts.values())
    assert len(texts["html"].encode()) <= 600_000
    drawn = re.findall(r' (?:d|x|y|cx|cy)="([^"]*)"', texts["html"])
    assert not any(re.search("nan|inf", place) for place in drawn)
    Xml.fromstring(texts["junit"].encode())
    json.loads(texts["sarif"])
    out = io.StringIO()
    render(run, Console(file=out, width=width, color_system=None))
    assert from_json(to_json(run)) == run
