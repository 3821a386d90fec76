"""How looks at a network become one verdict: a second one in doubt only, and both paid for."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import numpy as np

from crenel.check import Context
from crenel.transfer.hidden import examination
from crenel.transfer.hidden.beside import AGAIN, Beside, joined
from crenel.transfer.hidden.examination import Look
from crenel.transfer.hidden.inversion import Inverted
from crenel.transfer.hidden.search import Searched, Verdict

CLASSES = 10


def stand(goal: int, chance: float) -> list[Beside]:
    """A look in which one class stands out by a chance over all classes, and no other does."""
    others = (Beside(c, 0.5, 1.0, {"patch": 0.5}) for c in range(CLASSES) if c != goal)
    return [Beside(goal, chance / CLASSES, chance, {"patch": chance / CLASSES}), *others]


@pytest.fixture
def compared(monkeypatch):
    """Verdict, looks taken and note from (class, chance) of two looks; None is one that failed."""
    found = Inverted("patch", np.arange(CLASSES), None, None, np.ones(CLASSES), 0)

    def of(first, second, alone=1.0, deadline=None):
        asked = []

        def look(number, told):
            asked.append(number)
            return "failed." if told is None else Look(stand(*told), f"look {number}.")

        monkeypatch.setattr(examination, "_look", lambda *a, **k: look(1, first))
        monkeypatch.setattr(examination, "_imagined_look", lambda *a: look(2, second))
        told, words = examination._compared(
            None, None, [Searched(found, 9, 9)], [Verdict(0, alone, {}, {}, 0)], CLASSES,
            Context(check="TRA-104", deadline=deadline), imagined=False,
        )  # fmt: skip
        return told[0], asked, words

    return of


@pytest.mark.parametrize(("chance", "stands"), [(0.001, True), (0.8, False)])
def test_a_clear_first_look_is_not_looked_at_again(compared, chance, stands):
    told, asked, _ = compared((1, chance), (1, 1e-9))
    assert asked == [1]
    assert told.chance == min(1.0, 2 * chance)
    assert told.stands_out is stands


def test_in_doubt_a_class_that_both_looks_name_stands_out_and_both_ways_are_paid_for(compared):
    told, asked, words = compared((1, 0.04), (1, 0.04))
    assert asked == [1, 2]
    both = float(joined(np.array([[0.004], [0.004]]), AGAIN)[0])
    assert told.goal == 1
    assert told.chance == pytest.approx(2 * CLASSES * both)
    assert told.stands_out
    assert words == "look 1. look 2."


def test_a_class_that_the_second_look_alone_names_does_not_stand_out(compared):
    told, asked, _ = compared((1, 0.04), (2, 0.002))
    assert asked == [1, 2]
    assert (told.goal, told.chance) == (1, 0.08)
    assert not told.stands_out


def test_without_a_control_on_the_images_given_the_imagined_ones_decide_in_doubt(compared):
    told, asked, _ = compared(None, (2, 0.001), alone=0.2)
    assert asked == [1, 2]
    assert (told.goal, told.chance) == (2, 0.002)
    assert told.stands_out
    for alone in (0.008, 0.9):
        told, asked, words = compared(None, (2, 1e-9), alone=alone)
        assert asked == [1]
        assert (told.goal, told.chance) == (0, alone)
        assert words.endswith("held against each other.")


def test_where_no_look_works_the_classes_are_held_against_each_other(compared):
    told, asked, words = compared(None, None, alone=0.2)
    assert asked == [1, 2]
    assert (told.goal, told.chance) == (0, 0.2)
    assert words == "failed. failed. Classes are held against each other."


def test_doubt_without_time_for_a_second_look_is_told(compared):
    told, asked, words = compared((1, 0.1), (1, 1e-9), deadline=0.0)
    assert asked == [1]
    assert not told.stands_out
    assert words.endswith("There was no time for a second look.")
