import re
from itertools import pairwise
from xml.etree import ElementTree as Xml

import pytest

from crenel.exposure import Budget, Harm
from crenel.report import charts
from crenel.report.curves import panels
from crenel.report.scales import harm_axis
from tests.report import fixture

SVG = "{http://www.w3.org/2000/svg}"


def drawn(run, check, target=None):
    panel = next(p for p in panels(run) if p.check == check and target in (None, p.target))
    text = str(charts.chart(panel))
    return panel, Xml.fromstring(text)


def paths(svg, style):
    return [p for p in svg.iter("path") if style in p.get("class", "").split()]


def points(path):
    found = re.findall(r"(-?[\d.]+) (-?[\d.]+)", path.get("d"))
    return [(float(x), float(y)) for x, y in found]


def test_the_curve_goes_through_its_points():
    panel, svg = drawn(fixture.run(), "EVA-102")
    (line,) = [p for p in paths(svg, "line") if "control" not in p.get("class")]
    values = [p.value for p in panel.attacks[0].points]
    top = charts.TOP + charts.LINE
    axis = harm_axis((0.0, 1.0), "linear", charts.HEIGHT - charts.BOTTOM, top)
    assert [y for _, y in points(line)] == pytest.approx([axis(v) for v in values], abs=0.06)
    xs = [x for x, _ in points(line)]
    assert xs == sorted(xs)
    # Budgets 0, 1, 2, 3, 4, 6, 8 are evenly spaced but for the last two steps.
    assert xs[5] - xs[4] == pytest.approx(2 * (xs[1] - xs[0]), abs=0.2)


def test_the_band_encloses_the_curve():
    _, svg = drawn(fixture.run(), "EVA-102")
    (band,) = paths(svg, "band")
    (line,) = paths(svg, "line")
    n = len(points(line))
    upper, lower = points(band)[:n], points(band)[n:][::-1]
    assert any(lo - up > 2 for (_, up), (_, lo) in zip(upper, lower)), "the band has a width"
    for (_, y), (_, up), (_, lo) in zip(points(line), upper, lower):
        assert up <= y + 0.06
        assert lo >= y - 0.06


def test_the_limit_is_a_region_whose_corner_is_the_limit():
    panel, svg = drawn(fixture.run(), "EVA-102")
    (corner,) = svg.iter("circle")
    (line,) = paths(svg, "line")
    at = {b: x for b, (x, _) in zip((0, 1, 2, 3, 4, 6, 8), points(line))}
    assert float(corner.get("cx")) == pytest.approx(at[2], abs=0.1)
    axis = harm_axis((0.0, 1.0), "linear", charts.HEIGHT - charts.BOTTOM, charts.TOP + charts.LINE)
    assert float(corner.get("cy")) == pytest.approx(axis(0.2), abs=0.1)
    assert "limit 20 % at 2 fields" in "".join(svg.itertext()).replace("\u00a0", " ")
    assert panel.marks[0].status == "fail"


def test_roles_and_lower_bounds_are_told_apart():
    _, bound = drawn(fixture.run(), "EVA-101")
    assert len(paths(bound, "bound")) == 1
    assert any("at least" in (t.text or "") for t in bound.iter("text"))
    _, healthy = drawn(fixture.run(), "EVA-102")
    assert not paths(healthy, "bound")
    assert len(paths(healthy, "control")) == 1
    _, compared = drawn(fixture.run(), "CON-101", "phishing")
    assert len([p for p in paths(compared, "before") if "line" in p.get("class")]) == 1
    _, alone = drawn(fixture.run(before=()), "CON-101", "phishing")
    assert not paths(alone, "before")
    _, surrogate = drawn(fixture.run(), "TRA-102")
    assert len(paths(surrogate, "reference")) == 1


def test_a_chart_has_no_colours_of_its_own_and_says_what_it_shows():
    panel, svg = drawn(fixture.run(), "CON-101", "phishing")
    for element in svg.iter():
        assert not {"fill", "stroke", "style", "color", "width", "height"} & set(element.attrib)
    title, desc = svg.find("title"), svg.find("desc")
    assert svg.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    assert "members identified against false-alarm rate" in title.text
    assert panel.curves[0].told in desc.text


def test_names_from_data_cannot_leave_the_drawing():
    nasty = fixture.exposure(
        "EVA-102", "evasion", (0, 1), (0.0, 0.5), series=fixture.NASTY, unit=fixture.NASTY,
        budget=fixture.NASTY, harm=fixture.NASTY,
    )  # fmt: skip
    reference = nasty.model_copy(update={"role": "reference"})
    _, svg = drawn(fixture.run(exposures=(nasty, reference), before=()), "EVA-102")
    assert not list(svg.iter("script"))


def test_labels_do_not_cover_each_other():
    crowd = tuple(
        fixture.exposure("EVA-102", "evasion", (0, 1), (0.0, 0.5), series=f"attack {i}")
        for i in range(5)
    )
    _, svg = drawn(fixture.run(exposures=crowd, before=()), "EVA-102")
    ys = sorted(float(t.get("y")) for t in svg.iter("text") if "label" in t.get("class").split())
    assert len(ys) == 5
    assert all(b - a >= charts.LINE - 0.2 for a, b in pairwise(ys))


def test_long_curves_are_thinned_and_keep_their_ends():
    n = 5000
    exposure = fixture.exposure("CON-101", "confidentiality", (0.0, 1.0), (0.0, 1.0))
    ramp = tuple(i / (n - 1) for i in range(n))
    long = exposure.model_copy(
        update={
            "budget": Budget(name="b", values=ramp),
            "harm": Harm(name="h", values=ramp, low=ramp, high=ramp),
        }
    )
    panel, svg = drawn(fixture.run(exposures=(long,), before=()), "CON-101")
    (line,) = paths(svg, "line")
    assert len(points(line)) == charts.POINTS
    kept = charts.thin(panel.attacks[0].points)
    assert (kept[0].budget, kept[-1].budget) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("budgets", "harms", "scale"),
    [((1.0,), (0.5,), "linear"), ((0.0,), (0.0,), "log"), ((0, 1), (0, 0), "log")],
)
def test_a_single_point_and_a_flat_curve_can_be_drawn(budgets, harms, scale):
    one = fixture.exposure("EVA-102", "evasion", budgets, harms, scale=scale)
    run = fixture.run(exposures=(one,), before=())
    panel, svg = drawn(run, "EVA-102")
    assert paths(svg, "line")
    assert "nan" not in str(charts.chart(panel)).lower()
    assert "svg" in str(charts.spark(panel.curves[0]))


def test_long_labels_lose_the_words_that_they_share():
    names = ("turning decisions by the copy", "turning decisions directly", "base")
    crowd = tuple(fixture.exposure("EVA-102", "evasion", (0, 1), (0, 0.5), series=s) for s in names)
    _, svg = drawn(fixture.run(exposures=crowd, before=()), "EVA-102")
    labels = {t.text for t in svg.iter("text") if "label" in t.get("class").split()}
    assert labels == {"by the copy", "directly", "base"}


def test_proofs_are_drawn_above_the_attack_and_what_lies_between_is_undecided():
    run = fixture.run()
    first = next(e for e in run.exposures if e.check == "EVA-101")
    most = tuple(min(1.0, v + 0.2) for v in first.harm.values)
    bounds = {"possible": most, "possible_high": most}
    proven = first.model_copy(update={"harm": first.harm.model_copy(update=bounds)})
    others = tuple(e for e in run.exposures if e is not first)
    panel, svg = drawn(run.model_copy(update={"exposures": (proven, *others)}), "EVA-101")
    (proof,), (attack, *_) = paths(svg, "proof"), paths(svg, "line")
    for (x, y), (u, v) in zip(points(proof), points(attack), strict=True):
        assert x == pytest.approx(u)
        assert y <= v + 0.1
    assert "neither broken nor proven" in Xml.tostring(paths(svg, "open")[0], encoding="unicode")
    assert "42\xa0% proven to hold" in panel.curves[0].told
    assert not paths(drawn(run, "EVA-101")[1], "proof")
