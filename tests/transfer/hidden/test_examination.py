"""How looks at a network become one verdict: a second one in doubt only, and both paid for."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from crenel.check import Context
from crenel.transfer.hidden import examination
from crenel.transfer.hidden.examination import Look
from crenel.transfer.hidden.search import Verdict


def verdict(goal: int, chance: float, siblings: int = 1) -> Verdict:
    return Verdict(goal, chance, {"patch": chance}, {"patch": 2.0}, siblings)


@pytest.fixture
def compared(monkeypatch):
    """Verdict and note from the chances of looks; None is a look that failed."""

    def of(first, second, alone=1.0, deadline=None):
        asked = []

        def look(goal, chance):
            asked.append(goal)
            return "failed." if chance is None else Look([verdict(goal, chance)], f"look {goal}.")

        monkeypatch.setattr(examination, "_look", lambda *a, **k: look(1, first))
        monkeypatch.setattr(examination, "_imagined_look", lambda *a: look(2, second))
        told, words = examination._compared(
            None, None, [], [verdict(0, alone, 0)], 10, Context(check="TRA-104", deadline=deadline),
            imagined=False,
        )  # fmt: skip
        return told[0], asked, words

    return of


@pytest.mark.parametrize(("chance", "stands"), [(0.001, True), (0.8, False)])
def test_a_clear_first_look_is_not_looked_at_again(compared, chance, stands):
    told, asked, _ = compared(chance, 1e-9)
    assert asked == [1]
    assert told.chance == min(1.0, 2 * chance)
    assert told.stands_out is stands


def test_in_doubt_the_clearer_look_counts_at_twice_its_chance(compared):
    told, asked, words = compared(0.1, 0.002)
    assert asked == [1, 2]
    assert (told.goal, told.chance) == (2, 0.004)
    assert told.stands_out
    assert words == "look 1. look 2."
    told, _, _ = compared(0.02, 0.4)
    assert (told.goal, told.chance) == (1, 0.04)
    assert not told.stands_out


def test_without_a_control_on_the_images_given_the_imagined_ones_decide_in_doubt(compared):
    told, asked, _ = compared(None, 0.001, alone=0.2)
    assert asked == [1, 2]
    assert told.goal == 2
    assert told.stands_out
    for alone in (0.008, 0.9):
        told, asked, words = compared(None, 1e-9, alone=alone)
        assert asked == [1]
        assert (told.goal, told.chance) == (0, alone)
        assert words.endswith("held against each other.")


def test_where_no_look_works_the_classes_are_held_against_each_other(compared):
    told, asked, words = compared(None, None, alone=0.2)
    assert asked == [1, 2]
    assert (told.goal, told.chance) == (0, 0.2)
    assert words == "failed. failed. Classes are held against each other."


def test_doubt_without_time_for_a_second_look_is_told(compared):
    told, asked, words = compared(0.1, 1e-9, deadline=0.0)
    assert asked == [1]
    assert not told.stands_out
    assert words.endswith("There was no time for a second look.")
