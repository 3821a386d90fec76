"""Planted weaknesses and sound subjects that prove the checks of risk 1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.subject import Data, Subject


def one_field_decides() -> Subject:
    """A lender that believes whatever purpose an applicant states."""
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    rng = np.random.default_rng(0)
    n = 400
    purpose = rng.choice(["car", "home", "holiday"], n)
    income = rng.normal(30, 8, n).round(1)
    x = pd.DataFrame({"purpose": purpose, "income": income, "age": rng.integers(20, 70, n)})
    y = (income + np.where(purpose == "home", 30, 0) + rng.normal(0, 3, n) > 45).astype(np.int64)
    encode = make_column_transformer(
        (OneHotEncoder(), ["purpose"]), (StandardScaler(), ["income", "age"])
    )
    return _table(x, y, make_pipeline(encode, LogisticRegression()))


def many_fields_agree() -> Subject:
    """Sixteen redundant sensors, of which no three outvote the rest."""
    import pandas as pd
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 240).astype(np.int64)
    level = np.clip((2 * y - 1)[:, None] + rng.normal(0, 0.2, (240, 16)), -2, 2)
    x = pd.DataFrame(level, columns=[f"sensor {j}" for j in range(16)])
    return _table(x, y, LogisticRegression(C=0.01))


def narrow_margins() -> Subject:
    """A network that adds up a faint pattern over 400 pixels."""
    rng = np.random.default_rng(0)
    pattern = rng.choice([-1.0, 1.0], (1, 20, 20))
    y = rng.integers(0, 2, 120).astype(np.int64)
    faint = 0.015 * (2 * y - 1)[:, None, None, None] * pattern
    x = np.clip(0.5 + faint + rng.normal(0, 0.02, (120, 1, 20, 20)), 0, 1)
    return _images(x.astype(np.float32), y, pattern)


def wide_margins() -> Subject:
    """A network that tells bright images from dark ones."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 120).astype(np.int64)
    bright = np.where(y == 1, 0.85, 0.15)[:, None, None, None]
    x = np.clip(bright + rng.normal(0, 0.05, (120, 1, 8, 8)), 0, 1)
    return _images(x.astype(np.float32), y, np.ones((1, 8, 8)))


def thin_leaves() -> Subject:
    """Trees that cut one number into slices thinner than it is ever measured."""
    import pandas as pd
    from sklearn.tree import DecisionTreeClassifier

    rng = np.random.default_rng(0)
    x = pd.DataFrame({"a": rng.random(400), "b": rng.random(400)})
    y = (np.floor(x["a"].to_numpy() * 40) % 2).astype(np.int64)
    return _table(x, y, DecisionTreeClassifier(random_state=0))


def wide_leaves() -> Subject:
    """Trees between two groups that lie far apart."""
    import pandas as pd
    from sklearn.ensemble import RandomForestClassifier

    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400).astype(np.int64)
    centre = 4.0 * (2 * y - 1)[:, None]
    x = pd.DataFrame(centre + rng.normal(size=(400, 3)), columns=list("abc"))
    return _table(x, y, RandomForestClassifier(10, max_depth=3, random_state=0))


def one_field_prices() -> Subject:
    """A price that rests on a distance that the seller states."""
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    rng = np.random.default_rng(0)
    n = 400
    kind = rng.choice(["flat", "house", "villa"], n)
    x = pd.DataFrame(
        {"kind": kind, "metres": rng.integers(10, 900, n), "rooms": rng.integers(1, 8, n)}
    )
    y = 400 - 0.3 * x["metres"] + 12 * x["rooms"] + 20 * (kind == "villa") + rng.normal(0, 6, n)
    encode = make_column_transformer((OneHotEncoder(), ["kind"]), remainder="passthrough")
    return _values(x, y.to_numpy(dtype=np.float64), make_pipeline(encode, Ridge()))


def many_fields_average() -> Subject:
    """The mean of thirty sensors, of which no three move it beyond its error."""
    import pandas as pd
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(0)
    level = rng.uniform(-1, 1, 400)
    readings = np.clip(level[:, None] + rng.normal(0, 0.3, (400, 30)), -1, 1)
    x = pd.DataFrame(readings, columns=[f"sensor {j}" for j in range(30)])
    y = level + rng.normal(0, 0.25, 400)
    return _values(x, y, Ridge(alpha=200.0))


def _values(x: Any, y: NDArray[np.float64], estimator: Any) -> Subject:
    """The first half for training, the second for the test of a regression."""
    from crenel.adapters import wrap
    from crenel.data import infer_schema

    half = len(y) // 2
    train = Data(x.iloc[:half].reset_index(drop=True), y[:half], np.arange(half))
    test = Data(x.iloc[half:].reset_index(drop=True), y[half:], np.arange(half, len(y)))
    model = wrap(estimator.fit(train.x, train.y), task="regression")
    return Subject("control", model=model, train=train, test=test, schema=infer_schema(x))


def _table(x: Any, y: NDArray[np.int64], estimator: Any) -> Subject:
    """The first half for training, the second for the test."""
    from crenel.adapters import wrap
    from crenel.data import infer_schema

    half = len(y) // 2
    train = Data(x.iloc[:half].reset_index(drop=True), y[:half], np.arange(half))
    test = Data(x.iloc[half:].reset_index(drop=True), y[half:], np.arange(half, len(y)))
    model = wrap(estimator.fit(train.x, train.y), classes=[0, 1])
    return Subject("control", model=model, train=train, test=test, schema=infer_schema(x))


def _images(x: NDArray[np.float32], y: NDArray[np.int64], weights: NDArray[Any]) -> Subject:
    """A linear network with given weights, after the mean of the images."""
    import torch

    from crenel.adapters import wrap

    flat = torch.tensor(weights.reshape(1, -1), dtype=torch.float32)
    layer = torch.nn.Linear(flat.shape[1], 2)
    with torch.no_grad():
        layer.weight.copy_(torch.cat([-flat, flat]))
        shift = float((flat @ torch.full((flat.shape[1], 1), 0.5)).item())
        layer.bias.copy_(torch.tensor([shift, -shift]))
    network = torch.nn.Sequential(torch.nn.Flatten(), layer)
    test = Data(x, y, np.arange(len(y)))
    return Subject("control", model=wrap(network, classes=[0, 1]), test=test)
