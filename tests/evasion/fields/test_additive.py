"""The sum of parts that guides the search over fields."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crenel.evasion.fields.additive import Additive, parts_of
from crenel.evasion.fields.space import build_space
from crenel.evasion.fields.surrogate import Surrogate
from crenel.schema import Feature, Kind, Schema


def test_few_observations_of_a_sum_are_enough_to_foretell_it() -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(30, 2))
    x = rng.normal(size=(60, 30))
    told = Additive.fitted(x, x @ weights + 3.0).told(rng.normal(size=(0, 30)))
    assert told.shape == (0, 2)
    new = rng.normal(size=(50, 30))
    off = Additive.fitted(x, x @ weights + 3.0).told(new) - (new @ weights + 3.0)
    assert np.abs(off).max() < 0.3


def test_what_is_no_sum_is_left_alone() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 40))
    noise = rng.normal(size=(80, 1))
    told = Additive.fitted(x, noise).told(rng.normal(size=(50, 40)))
    assert told.std() < 0.7 * noise.std()


def test_parts_of_numbers_words_and_what_does_not_vary() -> None:
    x = pd.DataFrame({"n": [1.0, 5.0, None, 3.0], "w": list("abab"), "c": [2.0] * 4})
    schema = Schema(
        features=(
            Feature(name="n", kind=Kind.CONTINUOUS, min=0, max=9),
            Feature(name="w", kind=Kind.CATEGORY, values=("a", "b")),
            Feature(name="c", kind=Kind.CONTINUOUS, min=2, max=2),
        )
    )
    number, word, constant = (parts_of(c) for c in build_space(x, x.iloc[:0], x, schema, 4).columns)
    rank = number[:4, 0]
    assert rank[0] < rank[3] < rank[1]
    assert (number[2] == 0).all()
    assert (word[0] == word[2]).all()
    assert word.shape[1] == 2
    assert constant.shape[1] == 0


@pytest.mark.parametrize("kind", ["sum", "corner"])
def test_either_forest_is_believed_where_it_foretells(kind: str) -> None:
    rng = np.random.default_rng(1)
    x = pd.DataFrame(rng.random((90, 12)), columns=[f"f{j}" for j in range(12)])
    names = tuple(x.columns)
    schema = Schema(
        features=tuple(Feature(name=n, kind=Kind.CONTINUOUS, min=0, max=1) for n in names)
    )
    values = x.to_numpy()
    odds = 3 * (values - 0.5) @ np.resize([1.0, -1.0], 12)
    if kind == "corner":
        odds = np.where((values[:, 0] > 0.5) == (values[:, 1] > 0.5), 4.0, -4.0)
    share = 1 / (1 + np.exp(-odds))
    scores = np.column_stack([1 - share, share])
    space = build_space(x, x.iloc[:0], x, schema, 4)
    guide = Surrogate(space, (odds > 0).astype(np.int64), 0)
    own = np.repeat(np.arange(90)[:, None], 12, axis=1)
    for some in np.split(np.arange(90), [40, 60, 75]):
        guide.tell(own[some], scores[some])
        guide.refit()
    assert (guide._belief[1] > 0.9) == (kind == "sum")
