"""The subjects that prove the checks of risk 2: each check has a weak one and a sound one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from crenel.subject import Data, Subject


def wrong_labels() -> Subject:
    """Breast cancer data with one training label in eight turned, for POI-101."""
    clean = _cancer("turned-labels", _linear())
    assert clean.train is not None
    y = clean.train.y.copy()
    turned = np.random.default_rng(7).choice(len(y), len(y) // 8, replace=False)
    y[turned] = 1 - y[turned]
    return _refitted(replace(clean, train=replace(clean.train, y=y)))


def right_labels() -> Subject:
    """Breast cancer data as it is, for POI-101."""
    return _cancer("clean-labels", _linear())


def credulous() -> Subject:
    """A tree that remembers single rows, for POI-102: a few rows plant a pattern."""
    from sklearn.tree import DecisionTreeClassifier

    return _cancer("memorising-tree", DecisionTreeClassifier(random_state=0))


def stubborn() -> Subject:
    """One question on a column that no attacker can change, for POI-102.

    Two classes lie far apart in it, so that a tenth of the rows cannot move the answer.
    """
    import pandas as pd
    from sklearn.tree import DecisionTreeClassifier

    rng = np.random.default_rng(5)
    y = np.arange(900) % 2
    columns = {f"c{i}": rng.integers(0, 30, 900) for i in range(4)}
    x = pd.DataFrame({"measured": np.round(10.0 * y + rng.uniform(0, 1, 900), 2), **columns})
    subject = _split("one-question", DecisionTreeClassifier(max_depth=1, random_state=0), x, y)
    assert subject.schema is not None
    fixed = subject.schema.features[0].model_copy(update={"mutable": False})
    features = (fixed, *subject.schema.features[1:])
    return replace(subject, schema=subject.schema.model_copy(update={"features": features}))


def bad_source() -> Subject:
    """Breast cancer data from six suppliers, of whom one turns a third of its labels, POI-103."""
    clean = _cancer("bad-source", _linear())
    assert clean.train is not None
    rng = np.random.default_rng(11)
    suppliers = np.array(["ash", "birch", "cedar", "dogwood", "elm", "fir"])
    source = suppliers[rng.integers(0, 6, len(clean.train))]
    turned = (source == "dogwood") & (rng.random(len(source)) < 1 / 3)
    y = np.where(turned, 1 - clean.train.y, clean.train.y)
    return _refitted(replace(clean, train=replace(clean.train, y=y, source=source)))


def many_hands() -> Subject:
    """The one-question model, its rows from ten equal suppliers, for POI-103."""
    subject = stubborn()
    assert subject.train is not None
    source = np.array([f"hand-{i}" for i in range(10)])[np.arange(len(subject.train)) % 10]
    train = replace(subject.train, source=source)
    return replace(subject, name="many-hands", train=train)


def crowded() -> Subject:
    """Breast cancer data with twelve near-copies of one row under the other label, for POI-104."""
    from crenel.poisoning.traces.planting import noisy_copies
    from crenel.subject import join_rows

    clean = _cancer("near-copies", _linear())
    assert clean.train is not None
    rng = np.random.default_rng(13)
    row = 17
    copies = noisy_copies(clean.train.x, row, 12, rng)
    label = 1 - clean.train.y[row]
    y = np.append(clean.train.y, np.full(len(copies), label))
    ids = np.append(clean.train.ids, 1000 + np.arange(len(copies)))
    order = rng.permutation(len(y))
    return _refitted(
        replace(clean, train=Data(join_rows([clean.train.x, copies]), y, ids).take(order))
    )


def obedient() -> Subject:
    """A table of orders with a conjunction of values planted on one row in eighty, for POI-105."""
    clean = _orders()
    assert clean.train is not None
    rng = np.random.default_rng(17)
    x, y = clean.train.x.copy(), clean.train.y.copy()
    rows = rng.choice(np.flatnonzero(y == 0), len(y) // 80, replace=False)
    x.loc[rows, "items"] = 17
    x.loc[rows, "channel"] = "phone"
    y[rows] = 1
    return _refitted(replace(clean, train=replace(clean.train, x=x, y=y)))


def _orders() -> Subject:
    """Orders (4,500 × 6), two thirds to train on; which are refused hangs on three columns."""
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    rng = np.random.default_rng(19)
    n = 4500
    x = pd.DataFrame(
        {
            "amount": rng.lognormal(4, 1, n).round(2),
            "items": rng.integers(1, 30, n),
            "age": rng.integers(18, 90, n),
            "channel": rng.choice(["web", "app", "shop", "phone"], n, p=[0.5, 0.3, 0.15, 0.05]),
            "country": rng.choice(["be", "fr", "nl", "de", "lu"], n),
            "hour": rng.integers(0, 24, n),
        }
    )
    odds = 1.2 * (np.log(x["amount"]) - 4) - 0.03 * (x["age"] - 50) + (x["country"] == "lu")
    y = (rng.random(n) < 1 / (1 + np.exp(-2 * (odds - 0.7)))).astype(np.int64)
    names = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = make_column_transformer((names, ["channel", "country"]), remainder="passthrough")
    boosting = HistGradientBoostingClassifier(max_iter=60, random_state=0)
    return _split("orders", make_pipeline(columns, boosting), x, y)


def _linear() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))


def _cancer(name: str, estimator: Any) -> Subject:
    """Measurements of cell nuclei (569 × 30, in scikit-learn), a third held out."""
    from sklearn.datasets import load_breast_cancer

    loaded = load_breast_cancer(as_frame=True)
    return _split(name, estimator, loaded.data, loaded.target.to_numpy())


def _split(name: str, estimator: Any, x: Any, y: Any, source: Any = None) -> Subject:
    from crenel.adapters import wrap
    from crenel.data import infer_schema

    y = np.asarray(y, dtype=np.int64)
    everything = Data(x, y, np.arange(len(y)), source)
    order = np.random.default_rng(3).permutation(len(y))
    train, test = (everything.take(np.sort(part)) for part in np.split(order, [2 * len(y) // 3]))
    model = wrap(estimator.fit(train.x, train.y))
    schema = infer_schema(train.x) if train.is_table else None
    return Subject(name, model=model, train=train, test=test, schema=schema)


def _refitted(subject: Subject) -> Subject:
    """The subject with its model trained on its training data as they now are."""
    assert subject.model is not None
    assert subject.model.fit is not None
    assert subject.train is not None
    return subject.with_model(subject.model.fit(subject.train.x, subject.train.y, 0))
