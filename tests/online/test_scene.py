"""How a stream is cut, what is attacked, and that poison stays within honest values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crenel.errors import Inconclusive, NotApplicable, SubjectError
from crenel.online import poison
from crenel.online.learners import Live, Snapshot
from crenel.online.scene import behaviours, coordinates, largest_group, scene_of
from crenel.subject import Data, Learning


class Truth:
    """Decides by the sign of the first column, or always wrongly."""

    def __init__(self, wrong=False):
        self.wrong = wrong

    def partial_fit(self, x, y, classes):
        return self

    def predict(self, x):
        first = x[:, 0] if isinstance(x, np.ndarray) else x.iloc[:, 0].to_numpy()
        return (first > 0).astype(np.int64) ^ self.wrong


def stream(n=200, seed=0, words=False):
    rng = np.random.default_rng(seed)
    x = pd.DataFrame({"a": rng.normal(size=n), "b": rng.integers(0, 5, n)})
    if words:
        x["word"] = rng.choice(["u", "v", None], n)
    y = (x["a"] > 0).to_numpy().astype(np.int64)
    return Data(x, y, np.array([f"id-{i}" for i in range(n)]))


def scene(protect=(), **kind):
    return scene_of(Learning(Truth, stream(**kind), protect=protect), "sklearn")


def test_parts_are_disjoint_ordered_and_complete():
    s = scene()
    parts = np.concatenate([s.past, s.traffic, s.held])
    assert sorted(parts.tolist()) == list(range(200))
    assert s.past.max() < min(s.traffic.min(), s.held.min())
    assert (np.diff(s.traffic) > 0).all()


def test_only_the_latest_rows_are_used_but_a_protected_old_row_is_kept():
    s = scene(protect=("row:id-17",), n=3_500)
    assert len(s.y) == 3_001
    (_, rows), *_ = s.protected
    assert s.ids[rows].tolist() == ["id-17"]
    assert rows[0] not in np.concatenate([s.past, s.traffic, s.held])


def test_slice_is_the_rows_of_the_condition():
    s = scene(protect=("slice:a > 1 and b < 3",))
    (_, rows), *_ = s.protected
    chosen = s.x.iloc[rows]
    assert len(rows)
    assert ((chosen["a"] > 1) & (chosen["b"] < 3)).all()


@pytest.mark.parametrize(
    ("protect", "says"),
    [
        ("row:none-such", "names no row"),
        ("slice:nothing > 1", "not a condition"),
        ("slice:a > 1e9", "names no row"),
        ("a > 1", "neither row:ID nor"),
    ],
)
def test_a_wrong_behaviour_is_told_in_one_sentence(protect, says):
    with pytest.raises(SubjectError, match=says):
        scene(protect=(protect,))


def test_short_and_one_class_streams_and_values_are_not_measured():
    with pytest.raises(Inconclusive):
        scene(n=30)
    data = stream()
    with pytest.raises(Inconclusive):
        scene_of(Learning(Truth, Data(data.x, 0 * data.y, data.ids)), "sklearn")
    with pytest.raises(NotApplicable):
        scene_of(Learning(Truth, Data(data.x, data.y * 0.5, data.ids)), "sklearn")


def test_only_right_decisions_are_attacked_and_aimed_at_another_class():
    s = scene(protect=("row:id-150",))
    right = Live(Truth(), "sklearn", 2)
    chosen = behaviours(s, right, np.random.default_rng(0), 8)
    assert len(chosen) == 8
    assert chosen[0].name == "row id-150"
    for b in chosen:
        assert (b.aim != s.y[b.rows]).all()
        assert not s.turned(right, b)
        assert s.turned(Live(Truth(wrong=True), "sklearn", 2), b)
    assert behaviours(s, Live(Truth(wrong=True), "sklearn", 2), np.random.default_rng(0), 8) == []


def test_largest_group_is_the_largest_that_is_no_majority():
    s = scene(n=600)
    name, rows = largest_group(s)
    counts = s.x.iloc[s.held]["b"].value_counts()
    counts = counts[counts <= len(s.held) / 2]
    assert name == f"slice b={counts.index[0]}"
    assert len(rows) == counts.iloc[0]


def test_coordinates_of_missing_and_odd_values_are_finite():
    x = pd.DataFrame({"a": [1.0, np.nan, np.inf, 3.0], "w": ["u", None, "v", "u"], "c": [2] * 4})
    points = coordinates(x)
    assert np.isfinite(points).all()
    assert np.abs(points[0] - points[3]).sum() < np.abs(points[0] - points[2]).sum()


def test_near_copies_hold_only_values_of_honest_rows():
    s = scene(words=True)
    b = behaviours(s, Live(Truth(), "sklearn", 2), np.random.default_rng(0), 4)[-1]
    near = poison.near_copies(s, b, "sklearn", np.random.default_rng(1))
    known = s.x.iloc[np.append(s.past, b.rows)]
    for column in s.x.columns:
        assert near.rows[column].isin(known[column]).all()
    own = s.x.iloc[b.rows[0]]
    assert 0 < (near.rows["a"] == own["a"]).mean() < 1
    assert (near.y == b.aim[0]).all()


def test_far_copies_stay_within_the_range_of_the_past():
    s = scene()
    b = behaviours(s, Live(Truth(), "sklearn", 2), np.random.default_rng(0), 4)[-1]
    far = poison.far_copies(s, b, "sklearn", np.random.default_rng(1)).rows
    low, high = s.x.min().to_numpy(), s.x.max().to_numpy()
    assert ((far >= low) & (far <= high)).all()
    assert (far[:, 0] == s.x["a"].iloc[s.past].max()).any()


def test_flips_never_carry_the_right_label_and_honest_always_does():
    s = scene()
    rng = np.random.default_rng(3)
    bad, good = poison.flips(s, rng, 500), poison.honest(s, rng, 500)
    assert (bad.y != (bad.rows[:, 0] > 0)).all()
    assert (good.y == (good.rows[:, 0] > 0)).all()


def test_greedy_takes_the_sample_that_lowers_the_score_most():
    class Scored(Truth):
        """Its score for the right class falls with the number in column b that it learned."""

        lowered = 0.0

        def partial_fit(self, x, y, classes):
            self.lowered = max(self.lowered, float(x[:, 1].max()))

        def predict_proba(self, x):
            return np.full((len(x), 2), 1 - self.lowered / 100)

    s = scene()
    b = behaviours(s, Live(Truth(), "sklearn", 2), np.random.default_rng(0), 4)[-1]
    pool = poison.Poison(np.array([[1.0, 5], [1, 9], [1, 2]]), np.array([0, 0, 0]))
    best = poison.strongest(Snapshot.of(Live(Scored(), "sklearn", 2)), [pool], s, b)
    assert best.rows[0, 1] == 9
