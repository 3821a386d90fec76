import pytest

from crenel.report import words


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.41, "41 %"), (0.012, "1.2 %"), (0.0005, "0.05 %"), (0.00009, "0.009 %"),
        (1.0, "100 %"), (0.0, "0 %"), (0.1, "10 %"), (-0.03, "-3 %"),
    ],
)  # fmt: skip
def test_shares_are_percentages_with_two_figures(share, text):
    assert words.percent(share).replace("\u00a0", " ") == text


@pytest.mark.parametrize(
    ("value", "low", "high", "unit", "text"),
    [
        (0.41, 0.365, 0.459, "share", "41 % [36, 46]"),
        (0.012, 0.009, 0.016, "share", "1.2 % [0.9, 1.6]"),
        (0.0, 0.0, 0.004, "share", "0 % [0, 0.4]"),
        (3.0, 2.0, 5.5, "samples", "3 samples [2, 5.5]"),
    ],
)
def test_intervals_have_the_figures_of_their_value(value, low, high, unit, text):
    assert words.interval(value, low, high, unit).replace("\u00a0", " ") == text


def test_a_share_of_something_keeps_what_it_is_of():
    said = words.quantity(0.01, "share of training rows").replace("\u00a0", " ")
    assert said == "1 % of training rows"
    said = words.interval(0.2, 0.1, 0.3, "share of members").replace("\u00a0", " ")
    assert said == "20 % [10, 30] of members"
    assert words.axis_name("rows poisoned", "share of training rows") == (
        "rows poisoned, % of training rows"
    )
    assert words.axis_name("decisions flipped", "share") == "decisions flipped"
    assert words.axis_name("samples in one burst", "samples") == "samples in one burst"
    assert not words.is_share("shares")


def test_one_of_a_unit_is_singular():
    said = [words.quantity(1, u) for u in ("fields", "queries", "loss", "")]
    assert [s.replace("\u00a0", " ") for s in said] == ["1 field", "1 query", "1 loss", "1"]


def test_numbers_counts_and_durations():
    assert words.number(24420) == "24,420"
    assert words.number(0.97123) == "0.971"
    assert words.number(float("inf")) == "unlimited"
    assert words.count(1, "finding") == "1 finding"
    assert words.count(1234, "query", "queries") == "1,234 queries"
    plain = [words.duration(s).replace("\u00a0", " ") for s in (0.02, 0.41, 12.4, 134.2, 3725)]
    assert plain == ["< 0.1 s", "0.4 s", "12 s", "2 min 14 s", "1 h 02 min"]


def test_headlines_become_sentences_and_stay_as_they_are_otherwise():
    assert words.sentence("9 rows are enough") == "9 rows are enough."
    assert words.sentence("is it safe?") == "Is it safe?"
    assert words.cut("abcdef", 4) == "abc…"
