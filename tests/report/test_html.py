import re
from html.parser import HTMLParser

import pytest

from crenel.exposure import Budget, Harm
from crenel.finding import Edit, Evidence, Example, Finding, Severity
from crenel.policy import Policy, default_policy
from crenel.report import html
from crenel.report.html import embed, render_html
from tests.report import fixture

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """What a browser would see: elements with attributes, visible text, and well-formedness."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words, self.stack, self.errors = [], [], [], []
        self.feed(text)
        self.text = " ".join("".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.stack or self.stack.pop() != tag:
            self.errors.append(tag)

    def handle_data(self, data):
        if "style" not in self.stack:
            self.words.append(data)

    def all(self, tag, style=None):
        return [
            a
            for t, a in self.elements
            if t == tag and (style is None or style in (a.get("class") or "").split())
        ]


@pytest.fixture(scope="module")
def page():
    return Page(render_html(fixture.run()))


def test_it_is_one_well_formed_document_within_its_size():
    text = render_html(fixture.run())
    shown = Page(text)
    assert not shown.errors
    assert not shown.stack
    assert len(text.encode()) < 300_000
    ids = [a["id"] for _, a in shown.elements if "id" in a]
    assert len(ids) == len(set(ids))
    inner = [a["href"][1:] for a in shown.all("a") if a["href"].startswith("#")]
    assert inner
    assert set(inner) <= set(ids)
    for svg in shown.all("svg", "chart"):
        assert set(svg["aria-labelledby"].split()) <= set(ids)


def test_nothing_is_loaded_from_elsewhere_and_a_policy_forbids_it(page):
    assert not {t for t, _ in page.elements} & {"script", "link", "iframe", "object", "base"}
    sources = [a[k] for _, a in page.elements for k in ("src", "srcset", "data") if a.get(k)]
    assert sources
    assert all(s.startswith("data:image/png;base64,") for s in sources)
    assert not any(k.startswith("on") for _, a in page.elements for k in a)
    css = (html.TEMPLATES / "style.css").read_text()
    assert "url(" not in css
    assert "@import" not in css
    (policy,) = [a["content"] for a in page.all("meta") if "http-equiv" in a]
    assert "default-src 'none'" in policy


def test_names_and_values_of_the_data_are_escaped_everywhere(page):
    assert not page.all("script")
    assert page.text.count('<script>alert("x")</script>') >= 8, "shown as text, not run"
    assert "javascript:" not in [a.get("src", "")[:11] for a in page.all("img")]


def test_verdict_risks_and_headlines_come_in_order(page):
    run = fixture.run()
    text = page.text
    assert text.index("Fail: 3 of 10 limits exceeded.") < text.index("What would change it")
    ids = [a.get("id") for a in page.all("section", "risk")]
    assert ids == ["evasion", "poisoning", "online", "transfer", "confidentiality"]
    for headline in (
        "changing 2 fields flips 41 % [37, 46] of decisions, in 120 queries",
        "90 planted rows of 9,000 turn 48 % [43, 53] of target decisions",
    ):
        assert text.count(headline) + text.count(headline.capitalize()) >= 2
    assert len(page.all("svg", "chart")) == 8
    assert run.run.command in text
    for part in (*run.run.versions.items(), *run.run.digests.items()):
        assert all(word in text for word in part)


def test_findings_show_how_evidence_and_three_examples(page):
    text = page.text
    assert "crenel harden 7c1f0a4be21d --finding poi-" in text
    assert "a fourth example is not shown" not in text
    assert "3 examples of 4" in text
    assert "and 180 more, in report.json" in text, "240 rows, 60 of them named"
    assert "Quarantine the rows and train again." in text
    assert len(page.all("article", "finding")) == 4
    pictures = [a for a in page.all("img") if "image 31: 8 → 3" in a["alt"]]
    assert [a["alt"].split(": ")[-1] for a in pictures] == [
        "before",
        "after",
        "difference, magnified",
    ]
    assert "2 pictures left out" in text


def test_health_tests_are_words_as_well_as_marks(page):
    assert "✗ gradients are not masked (did not hold): 62 % of gradients are zero" in page.text
    assert "✓ loss goes down: 2.31 to 0.04" in page.text
    assert "at least 38 %" in page.text.replace("\u00a0", " ")


def test_what_was_not_measured_is_listed_with_reasons_and_never_passes(page):
    text = page.text[page.text.index("Not measured") :]
    for o in fixture.run().outcomes:
        if o.outcome != "measured":
            assert o.reason.rstrip(".")[1:] in text
    nothing = Page(render_html(fixture.run(outcomes=(), exposures=(), findings=(), before=())))
    assert not nothing.all("span", "pass")
    assert len(nothing.all("p", "grey")) == 5


def test_every_curve_has_its_figures_as_a_table(page):
    tables = page.all("table", "figures")
    assert len(tables) == sum(1 for _ in (*fixture.exposures(), *fixture.before()))
    assert "≥ 66 % [59, 72]" in page.text.replace("\u00a0", " ")


def test_references_of_each_check_are_there_with_their_edition(page):
    assert "OWASP Machine Learning Security Top 10 2023" in page.text
    assert "MITRE ATLAS 5.6.0" in page.text
    assert "EU AI Act" in page.text


def test_targets_are_named_only_where_there_are_several():
    one = fixture.run(
        target=fixture.run().target.model_copy(update={"parts": fixture.run().target.parts[:1]})
    )
    assert not Page(render_html(one)).all("span", "where")
    assert Page(render_html(fixture.run())).all("span", "where")


def test_an_interrupted_run_says_so():
    info = fixture.run().run.model_copy(update={"status": "interrupted"})
    good = tuple(o for o in fixture.outcomes() if o.risk == "transfer")
    run = fixture.run(run=info, outcomes=good, findings=(), policy=default_policy())
    shown = Page(render_html(run))
    assert "The run is interrupted" in shown.text
    assert shown.all("section", "incomplete")


def _many(count, **changes):
    return tuple(
        Finding(
            check="POI-101", risk="poisoning", target="phishing", severity=Severity.HIGH,
            subject=f"row {i}", sentence=f"row {i} is wrong " + "and so on " * 20,
            attack="do it " * 60, fix="undo it " * 60, **changes,
        )
        for i in range(count)
    )  # fmt: skip


def test_many_findings_keep_the_file_small_and_are_counted():
    edits = tuple(Edit(field="f" * 200, before="b" * 500, after="a" * 500) for _ in range(40))
    examples = tuple(Example(title="t" * 500, edits=edits, text="x" * 9000) for _ in range(3))
    evidence = Evidence(rows=tuple(range(5000)), values={str(i): "v" * 999 for i in range(99)})
    text = render_html(fixture.run(findings=_many(700, examples=examples, evidence=evidence)))
    assert len(text.encode()) <= html.LIMIT
    shown = Page(text)
    articles = len(shown.all("article", "finding"))
    assert articles > 0
    assert f"{700 - articles - html.LINES} more are in report.json" in shown.text


def test_pictures_stop_where_there_is_no_room_and_the_reader_is_told():
    big = "data:image/png;base64," + "A" * 120_000
    examples = (Example(title="one", images=(big,)), Example(title="two", images=(big, big)))
    text = render_html(fixture.run(findings=_many(1, examples=examples)))
    assert len(text.encode()) <= html.LIMIT
    assert text.count(big) == 1
    assert "2 pictures left out" in Page(text).text


def test_long_curves_stay_small_and_their_table_counts_the_rest():
    n = 20_000
    ramp = tuple(i / (n - 1) for i in range(n))
    base = fixture.exposure("CON-101", "confidentiality", (0.0, 1.0), (0.0, 1.0))
    long = base.model_copy(
        update={
            "budget": Budget(name="b", values=ramp),
            "harm": Harm(name="h", values=ramp, low=ramp, high=ramp),
        }
    )
    text = render_html(fixture.run(exposures=(long,) * 1, before=()))
    assert len(text.encode()) < 120_000
    assert f"{n - html.ROWS:,} further points are in report.json" in Page(text).text


def test_a_notebook_shows_it_in_a_frame_of_its_own():
    frame = Page(embed(fixture.run()))
    ((_, attributes),) = frame.elements
    assert attributes["srcdoc"] == render_html(fixture.run())
    assert "sandbox" in attributes
    assert fixture.run()._repr_html_() == embed(fixture.run())


def _colours(scheme):
    css = (html.TEMPLATES / "style.css").read_text()
    blocks = re.findall(r":root \{([^}]*)\}", css)
    names = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", blocks[0 if scheme == "light" else 1]))
    assert {"bg", "ink", "soft", "accent", "fail", "amber", "pass", "wash"} <= set(names)
    return names


def _luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["ink", "soft", "accent", "fail", "amber", "pass"])
@pytest.mark.parametrize("ground", ["bg", "wash"])
def test_text_has_the_contrast_that_wcag_asks_of_aa(scheme, name, ground):
    colours = _colours(scheme)
    a, b = sorted((_luminance(colours[name]), _luminance(colours[ground])))
    assert (b + 0.05) / (a + 0.05) >= 4.5


def test_a_policy_without_limits_is_not_a_pass():
    shown = Page(render_html(fixture.run(policy=Policy(limits=()))))
    assert shown.all("section", "incomplete")
    assert not shown.all("span", "pass")
