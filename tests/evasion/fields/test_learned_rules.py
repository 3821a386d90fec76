"""Rules learned from data, against planted ones and against noise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crenel.data import infer_schema
from crenel.evasion.fields.learned_rules import broken_rules, learn_rules


def planted(n: int = 2000, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    start = rng.integers(0, 1000, n)
    kind = rng.choice(["car", "truck", "bike"], n)
    a, b = rng.integers(0, 200, n), rng.integers(0, 300, n)
    return pd.DataFrame(
        {
            "start": start,
            "end": start + rng.integers(0, 400, n),
            "kind": kind,
            "wheels": pd.Series(kind).map({"car": "four", "truck": "six", "bike": "two"}),
            "licence": np.where(kind == "truck", "C", rng.choice(["A", "B", "C"], n)),
            "a": a,
            "b": b,
            "total": a + b,
            "weight": np.where(kind == "bike", rng.uniform(8, 20, n), rng.uniform(5, 4000, n)),
            "noise": rng.normal(size=n),
            "word": rng.choice(list("xyz"), n),
        }
    )


def test_planted_rules_are_learned_and_no_other() -> None:
    x = planted()
    texts = {r.text for r in learn_rules(x, infer_schema(x))}
    wanted = {"start <= end", "a + b == total", "kind → wheels", "wheels → kind",
              "kind = truck → licence = C", "wheels = six → licence = C"}  # fmt: skip
    follow = {"a <= total", "b <= total"}  # as a and b are never negative
    assert wanted <= texts
    extra = texts - wanted - follow
    assert all(t.startswith(("kind = bike → weight", "wheels = two → weight")) for t in extra)
    assert len(extra) == 2


@pytest.mark.parametrize("seed", range(4))
def test_independent_columns_give_no_rule(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = pd.DataFrame(
        {f"n{j}": rng.exponential(1 + j, 600) for j in range(8)}
        | {f"w{j}": rng.choice(list("abcd")[: 2 + j % 3], 600, p=None) for j in range(6)}
        | {"rare": rng.choice(["x", "y"], 600, p=[0.97, 0.03]), "one": "same"}
    )
    assert learn_rules(x, infer_schema(x), seed) == ()


def test_a_rule_of_one_half_only_is_dropped() -> None:
    x = planted(1000)
    rng = np.random.default_rng(0)
    bad = rng.random(1000) < 0.01
    x.loc[bad, "end"] = 0
    assert "start <= end" not in {r.text for r in learn_rules(x, infer_schema(x))}


def test_broken_rules_of_a_change() -> None:
    x = planted()
    rules = learn_rules(x, infer_schema(x))
    before = x.iloc[:3].reset_index(drop=True)
    after = before.copy()
    after.loc[0, "end"] = -1
    after.loc[1, "wheels"] = {"four": "two"}.get(before.loc[1, "wheels"], "four")
    broken = broken_rules(rules, before, after)
    named = [{r.text for r, b in zip(rules, row) if b} for row in broken]
    assert named[0] == {"start <= end"}
    assert {"kind → wheels", "wheels → kind"} <= named[1]
    assert named[2] == set()


def test_missing_values_break_nothing_and_few_rows_teach_nothing() -> None:
    x = planted()
    rules = learn_rules(x, infer_schema(x))
    gaps = x.iloc[:2].astype(object).reset_index(drop=True)
    gaps.loc[:, :] = np.nan
    gaps = gaps.astype({c: float for c in x.columns if x[c].dtype.kind in "iuf"})
    assert not broken_rules(rules, x.iloc[:2].reset_index(drop=True), gaps).any()
    assert learn_rules(x.iloc[:50], infer_schema(x)) == ()
