"""Shifts of predicted values, against closed forms and brute force."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from crenel.check import Context
from crenel.errors import Inconclusive, NotApplicable
from crenel.evasion import controls, legal
from crenel.evasion.checks import moved_predictions
from crenel.evasion.shifts.search import field_shifts, small_shifts
from crenel.schema import Feature, Schema
from crenel.testing import check_check

WEIGHTS = np.array([2.0, -1.0, 0.5, 3.0])


def linear(x: pd.DataFrame) -> np.ndarray:
    return x.to_numpy(dtype=float) @ WEIGHTS


def numbers(n: int = 40) -> tuple[pd.DataFrame, Schema]:
    rng = np.random.default_rng(0)
    x = pd.DataFrame(rng.uniform(0, 1, (n, 4)), columns=list("abcd"))
    features = [Feature(name=c, kind="continuous", min=0, max=1, scale=0.5) for c in "abcd"]
    features[3] = features[3].model_copy(update={"direction": "up"})
    return x, Schema(features=tuple(features))


def test_few_fields_of_a_linear_model_move_it_by_the_closed_form() -> None:
    x, schema = numbers()
    got = field_shifts(linear, x, schema, x, max_fields=3, queries=600)
    rise = np.where(WEIGHTS > 0, 1 - x, x) * np.abs(WEIGHTS)
    fall = np.where(WEIGHTS > 0, x, 1 - x) * np.abs(WEIGHTS)
    fall[:, 3] = 0  # only upwards
    best = [
        np.maximum(
            np.sort(rise, axis=1)[:, -k:].sum(axis=1), np.sort(fall, axis=1)[:, -k:].sum(axis=1)
        )
        for k in (1, 2, 3)
    ]
    np.testing.assert_allclose(got.size, np.column_stack(best), rtol=1e-9)
    for k, frame in enumerate(got.adversarial):
        assert ((frame != x).sum(axis=1) <= k + 1).all()
        assert legal(x, frame, schema).all()
        np.testing.assert_allclose(linear(frame) - linear(x), got.shift[:, k])


def test_small_changes_of_a_linear_model_move_it_by_the_closed_form() -> None:
    x, schema = numbers()
    got = small_shifts(linear, x, schema, [0.1, 0.4])
    for i, epsilon in enumerate((0.1, 0.4)):
        span = epsilon * 0.5
        up, down = np.minimum(span, 1 - x.to_numpy()), np.minimum(span, x.to_numpy())
        rise = (np.where(WEIGHTS > 0, up, down) * np.abs(WEIGHTS)).sum(axis=1)
        down[:, 3] = 0
        fall = (np.where(WEIGHTS > 0, down, up) * np.abs(WEIGHTS))[:, [0, 1, 2]].sum(axis=1)
        np.testing.assert_allclose(got.size[:, i], np.maximum(rise, fall), rtol=1e-9)


def test_a_lookup_table_is_moved_nearly_as_far_as_brute_force() -> None:
    rng = np.random.default_rng(1)
    levels = (3, 4, 3, 3)
    table = rng.normal(size=levels) + sum(
        rng.normal(size=m).reshape([-1 if i == j else 1 for i in range(4)])
        for j, m in enumerate(levels)
    )
    codes = np.column_stack([rng.integers(0, m, 50) for m in levels])
    x = pd.DataFrame({f"f{j}": [f"v{c}" for c in codes[:, j]] for j in range(4)})
    schema = Schema(
        features=tuple(
            Feature(name=f"f{j}", kind="category", values=tuple(f"v{i}" for i in range(m)))
            for j, m in enumerate(levels)
        )
    )

    def predict(f: pd.DataFrame) -> np.ndarray:
        return table[tuple(f[c].str[1:].astype(int).to_numpy() for c in f)]

    got = field_shifts(predict, x, schema, x, max_fields=2, queries=400)
    cells = np.array(list(itertools.product(*map(range, levels))))
    apart = (codes[:, None, :] != cells[None]).sum(axis=2)
    reach = np.abs(table[tuple(cells.T)][None, :] - predict(x)[:, None])
    for k in (1, 2):
        exact = np.where(apart <= k, reach, 0).max(axis=1)
        assert (got.size[:, k - 1] <= exact + 1e-12).all()
        assert (got.size[:, k - 1] >= exact - 1e-9).mean() >= (1.0 if k == 1 else 0.95)


def test_missing_values_words_and_whole_numbers_stay_legal() -> None:
    rng = np.random.default_rng(2)
    x = pd.DataFrame(
        {
            "a": np.where(rng.random(60) < 0.3, np.nan, rng.normal(size=60)),
            "n": rng.integers(0, 50, 60),
            "w": rng.choice(["x", "y"], 60),
        }
    )
    schema = Schema(
        features=(
            Feature(name="a", kind="continuous", min=-2, max=2, missing=True),
            Feature(name="n", kind="integer", min=0, max=49, scale=20),
            Feature(name="w", kind="category", values=("x", "y")),
        )
    )

    def predict(f: pd.DataFrame) -> np.ndarray:
        return (f["a"].fillna(5) * 2 + f["n"] + 9 * (f["w"] == "y")).to_numpy(float)

    few, small = field_shifts(predict, x, schema, x), small_shifts(predict, x, schema, [0.13])
    for frame in (*few.adversarial, *small.adversarial):
        assert (frame["n"] == frame["n"].round()).all()
        assert set(frame["w"]) <= {"x", "y"}
        assert legal(x, frame, schema).all()
    assert (small.adversarial[0]["a"].isna() == x["a"].isna()).all()
    assert (np.abs(small.adversarial[0]["n"] - x["n"]) <= 2).all()  # 0.13 of 20, whole


def test_the_contract() -> None:
    report = check_check(moved_predictions)
    for result in (report.weak, report.sound):
        for exposure in result.exposures:
            assert exposure.health.ok, exposure.health
            assert list(exposure.harm.values) == sorted(exposure.harm.values)
            assert max(exposure.harm.high) <= 1
    named = {f.subject: f for f in report.weak.findings}
    assert "column metres" in named
    assert named["column metres"].examples[0].edits[0].field == "metres"


def test_an_immutable_column_moves_nothing() -> None:
    subject = controls.one_field_prices()
    fixed = tuple(
        f.model_copy(update={"mutable": f.name == "kind"}) for f in subject.schema.features
    )
    got = moved_predictions.measure(
        replace(subject, schema=Schema(features=fixed)), Context(check="EVA-107")
    )
    assert all("metres" not in f.evidence.columns for f in got.findings)
    assert [e.series for e in got.exposures] == ["fields"]


def test_noise_is_unhealthy_and_nothing_to_change_is_said() -> None:
    subject = controls.one_field_prices()
    rng = np.random.default_rng(0)
    noisy = replace(
        subject.model, decide=lambda x: subject.model.predict(x) + rng.normal(0, 50, len(x))
    )
    got = moved_predictions.measure(replace(subject, model=noisy), Context(check="EVA-107"))
    assert not got.exposures[0].health.ok
    fixed = tuple(f.model_copy(update={"mutable": False}) for f in subject.schema.features)
    with pytest.raises(NotApplicable):
        moved_predictions.measure(
            replace(subject, schema=Schema(features=fixed)), Context(check="EVA-107")
        )
    broken = replace(subject.model, decide=lambda x: np.full(len(x), np.nan))
    with pytest.raises(Inconclusive, match="not finite"):
        moved_predictions.measure(replace(subject, model=broken), Context(check="EVA-107"))
