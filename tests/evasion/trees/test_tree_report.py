"""EVA-103: which inputs move, how hard it searches, and the two sides of its curve."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer, StandardScaler

from crenel.adapters import wrap
from crenel.check import Context
from crenel.data import infer_schema
from crenel.evasion.trees.report import measure, read_inputs
from crenel.subject import Data, Subject


def rows(n=400, missing=0.0):
    rng = np.random.default_rng(0)
    x = pd.DataFrame(rng.normal(size=(n, 3)), columns=["a", "b", "c"])
    y = (x.a * x.b + 0.3 * rng.normal(size=n) > 0).astype(int)
    x.loc[rng.random(n) < missing, "b"] = np.nan
    return x, y.to_numpy()


def owners(steps, missing=0.0):
    x, y = rows(missing=missing)
    model = make_pipeline(steps, RandomForestClassifier(5, random_state=0)).fit(x, y)
    return read_inputs(wrap(model, sample=x[:5]), x[:20], x, infer_schema(x)).owner


def test_scaled_and_imputed_numbers_move_and_flags_of_missing_values_do_not():
    steps = ColumnTransformer(
        [
            ("scaled", StandardScaler(), ["a"]),
            ("filled", SimpleImputer(add_indicator=True), ["b"]),
            ("binned", KBinsDiscretizer(4, encode="ordinal"), ["c"]),
        ]
    )
    assert owners(steps, missing=0.2) == ["a", "b", None, "c"]


def test_inputs_made_of_one_number_or_of_several_are_frozen():
    steps = FunctionTransformer(
        lambda x: np.column_stack([x["a"], x["a"] ** 2, x["b"] - x["c"], x["c"]])
    )
    assert owners(steps) == [None, None, None, "c"]


def subject():
    x, y = rows(600)
    model = RandomForestClassifier(20, random_state=0).fit(x[:300], y[:300])
    ids = np.arange(300)
    test = Data(x=x[300:], y=y[300:], ids=ids)
    return Subject(name="t", model=wrap(model, sample=x[:5]), test=test)


@pytest.mark.parametrize(("level", "most"), [("quick", 100), ("standard", 150)])
def test_both_sides_of_the_curve_meet_where_the_search_ends(level, most):
    curve = measure(subject(), Context(check="EVA-103", level=level)).exposures[0]
    assert curve.n == most
    assert curve.health.ok
    gap = np.subtract(curve.harm.possible, curve.harm.values)
    assert (gap >= 0).all()
    assert gap.max() < 0.1
    assert np.diff(curve.harm.values).min() >= 0
    assert curve.harm.values[-1] > 0.9
