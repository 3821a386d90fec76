"""The miner's kernels against masks of rows."""

import numpy as np
import pandas as pd
import pytest
from sklearn.tree import DecisionTreeClassifier

from crenel.adapters import wrap
from crenel.poisoning.mining import mine_triggers
from crenel.poisoning.mining.columns import coded, recoded, side_by_side, stacked
from crenel.poisoning.mining.conditions import Conditions, Rows
from crenel.poisoning.mining.cores import SAME, distinct
from crenel.poisoning.mining.pairs import poisson_gain
from crenel.poisoning.mining.suspects import CHANCE, Explained, Suspect
from crenel.subject import Data


def table(rng, n=900, d=7):
    x = rng.integers(0, 9, (n, d)).astype(float)
    x[rng.random((n, d)) < 0.03] = np.nan
    return side_by_side(coded(x)), rng.integers(0, 3, n)


def box_of(columns, rng, size):
    box = {}
    for j in rng.permutation(len(columns))[:size]:
        low = int(rng.integers(columns[j].count))
        box[int(j)] = (low, min(columns[j].count - 1, low + int(rng.integers(0, 6))))
    return box


def masks(columns, box):
    return [(columns[j].codes >= a) & (columns[j].codes <= b) for j, (a, b) in box.items()]


@pytest.mark.parametrize("seed", range(4))
def test_rows_that_fail_conditions_are_those_of_masks_whatever_is_given_up(seed):
    rng = np.random.default_rng(seed)
    columns, y = table(rng)
    box, label = box_of(columns, rng, 6), int(rng.integers(3))
    some = Rows.of(stacked(columns), y)
    suspect = Suspect(box, label, np.zeros(0, np.int64), 0, True)
    left, kept = Conditions.of(suspect, columns, some, None), list(range(6))
    met = masks(columns, box)
    while kept:
        for part, rows in zip(left.parts, (y == label, y != label), strict=False):
            every = np.logical_and.reduce([met[i] for i in kept])
            but = [np.logical_and.reduce([met[i] for i in kept if i != j] or [rows]) for j in kept]
            wanted = [(m & rows).sum() for m in (every, *but)]
            assert part.met(left.kept).tolist() == wanted
            assert part.missed.tolist() == [(~m & rows).sum() for m in met]
        place = int(rng.integers(len(kept)))
        left.without(place)
        del kept[place]


def test_honest_rows_half_way_between_two_codes_are_within_bounds_that_hold_both():
    codes, y = np.array([[0.0, 0.5, 1.0, 1.5, 2.0]]), np.zeros(5, dtype=np.int64)
    x = np.repeat(np.arange(3.0), 4)[:, None]
    columns = coded(x)
    assert recoded(columns, x, np.array([[0.5]]))[0][0] == 0.5
    for bounds, missed in {(0, 0): 4, (0, 1): 2, (1, 1): 4, (1, 2): 2}.items():
        suspect = Suspect({0: bounds}, 0, np.zeros(0, np.int64), 0, True)
        own = Rows.of(stacked(columns), np.zeros(12, dtype=np.int64))
        found = Conditions.of(suspect, columns, own, Rows.of(codes, y, times=2))
        assert found.parts[2].missed.tolist() == [missed]


@pytest.mark.parametrize("seed", range(6))
def test_cells_are_explained_by_boxes_that_lie_mostly_within(seed):
    rng = np.random.default_rng(seed)
    columns, y = table(rng)
    of_class, explained, boxes = y == 1, Explained(), []
    for _ in range(12):
        rows = np.flatnonzero(
            np.logical_and.reduce([*masks(columns, box_of(columns, rng, 2)), of_class])
        )
        explained.add(rows)
        boxes.append(rows)
    verdicts = set()
    for size in (1, 2) * 40:
        cell = box_of(columns, rng, size)
        at = np.logical_and.reduce([*masks(columns, cell), of_class])
        left = at.copy()
        for rows in boxes:
            if min(at.sum(), at[rows].sum()) >= 0.4 * len(rows):
                left[rows] = False
        expected = float(at.sum() * rng.choice([0.3, 0.6, 0.9]))
        gain = poisson_gain(np.array([float(left.sum())]), np.array([expected]))[0]
        verdicts.add(gain < CHANCE)
        assert explained.covers(expected, cell, stacked(columns), of_class) == (gain < CHANCE)
    assert verdicts == {True, False}


def test_what_is_mined_does_not_depend_on_threads():
    rng = np.random.default_rng(4)
    x = pd.DataFrame(rng.integers(0, 12, (900, 5)), columns=list("abcde"))
    y = (x["a"] + rng.integers(0, 6, 900) > 8).to_numpy(np.int64)
    rows = np.flatnonzero(y[:600] == 0)[:20]
    x.loc[rows, ["b", "d"]] = 3, 11
    y[rows] = 1
    train, honest = (Data(x.iloc[r], y[r], r) for r in (np.arange(600), np.arange(600, 900)))
    model = wrap(DecisionTreeClassifier(random_state=0).fit(train.x, train.y))
    one, two = (mine_triggers(model, train, honest, 0, jobs=jobs).found for jobs in (1, 2))
    assert one
    assert [m.suspect.box for m in one] == [m.suspect.box for m in two]
    assert [(m.success, m.control, m.kinship) for m in one] == [
        (m.success, m.control, m.kinship) for m in two
    ]


def test_sets_of_rows_are_one_where_they_share_most():
    rng = np.random.default_rng(3)
    found = []
    for i in range(60):
        rows = rng.choice(40, int(rng.integers(0, 12)), replace=False)
        if i % 3 and found:  # nearly an earlier one
            rows = found[int(rng.integers(len(found)))].rows[: int(rng.integers(5, 40))]
        found.append(Suspect({0: (i, i)}, int(rng.integers(2)), np.sort(rows), 0, False))
    kept = []
    for s in found:
        alike = (
            len(np.intersect1d(s.rows, k.rows)) / max(1, len(np.union1d(s.rows, k.rows))) > SAME
            for k in kept
            if k.label == s.label
        )
        if len(s.rows) and not any(alike):
            kept.append(s)
    assert 5 < len(kept) < len([s for s in found if len(s.rows)])
    assert [id(s) for s in distinct(found, 40)] == [id(s) for s in kept]
