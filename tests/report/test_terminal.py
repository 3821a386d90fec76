import io
import re

import pytest
from rich.console import Console

from crenel.report.terminal import BLOCKS, render, spark
from crenel.report.view import view
from tests.report import fixture


def screen(run, width, colour=False, report="crenel-out/report.html"):
    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=colour, no_color=not colour, legacy_windows=False
    )
    render(run, console, report)
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 96, 100, 120, 140])
def test_it_fits_the_width_on_one_screen_and_keeps_every_word(width):
    text = screen(fixture.run(), width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) <= 34
    words = " ".join(text.split())
    for part in ("evasion", "confidentiality", "fail: 3 of 10 limits exceeded", "7c1f0a4be21d"):
        assert part in words
    assert "crenel harden 7c1f0a4be21d --finding eva-" in words
    # Of a headline no word is lost, whatever the line breaks.
    flat = re.sub(r"\s+(fail|pass|incomplete)\s+limit \d+ ?%?", "", text)
    for word in ("burst", "samples", "turns", "protected", "decisions;", "below", "heals"):
        assert word in flat


def test_a_wide_screen_has_one_line_for_each_short_headline():
    lines = screen(fixture.run(), 140).splitlines()
    (line,) = [one for one in lines if one.strip().startswith("confidentiality")]
    assert "4.7 % [4, 5.5] of members identified at 1 % false alarms" in line
    assert "incomplete" in line
    assert "limit 5" in line


def test_colour_follows_status_and_what_was_not_measured_is_never_green():
    coloured = screen(fixture.run(), 140, colour=True)
    assert "\x1b[1;31mfail" in coloured
    assert "\x1b[32mpass" in coloured
    empty = screen(fixture.run(outcomes=(), exposures=(), findings=(), before=()), 140, colour=True)
    assert "\x1b[32m" not in empty
    assert "not measured" in empty


def test_without_colour_there_are_no_escape_sequences():
    assert "\x1b" not in screen(fixture.run(), 120)


def test_no_color_in_the_environment_is_respected(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    out = io.StringIO()
    render(fixture.run(), Console(file=out, width=120, force_terminal=True))
    assert not re.search("\x1b\\[[0-9;]*3[0-9]m", out.getvalue())


def test_markup_in_names_is_text():
    named = fixture.exposure(
        "EVA-102", "evasion", (0, 1), (0.0, 0.9), headline="[red]x[/red] [link=a]flips[/link]"
    )
    assert "[red]x[/red] [link=a]flips[/link]" in screen(fixture.run(exposures=(named,)), 140)


def test_the_unmeasured_line_has_reasons_and_errors_come_first():
    words = " ".join(screen(fixture.run(), 120).split())
    line = words[words.index("not measured") :]
    assert line.index("POI-103 on phishing (error:") < line.index("CON-102 on phishing (left out")


def test_without_a_report_the_last_line_is_the_run():
    text = screen(fixture.run(), 120, report="")
    assert "report" not in text
    assert text.strip().splitlines()[-1].split()[:2] == ["run", "7c1f0a4be21d"]


def test_sparks_rise_with_the_harm_and_shares_are_drawn_from_0_to_1():
    risks = {r.name: r for r in view(fixture.run()).risks}
    assert spark(risks["evasion"].worst)[-1] == BLOCKS[-1]
    assert spark(risks["transfer"].worst)[-1] != BLOCKS[-1], "63 % is not all"
    for r in risks.values():
        levels = [BLOCKS.index(b) for b in spark(r.worst)]
        assert levels == sorted(levels)
        assert len(levels) == 5


def test_what_loading_assumed_is_said_and_the_rest_counted():
    run = fixture.run()
    notes = ("the labels may be in another order", "2 of 3 files", "third")
    part = run.target.parts[0].model_copy(update={"notes": notes})
    target = run.target.model_copy(update={"parts": (part,)})
    words = " ".join(screen(run.model_copy(update={"target": target}), 140).split())
    assert "notes the labels may be in another order; 2 of 3 files; and 1 more, in the rep" in words
