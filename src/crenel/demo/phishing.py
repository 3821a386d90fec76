"""First subject: a phishing detector, and one that keeps learning from reports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crenel.errors import MissingExtra

if TYPE_CHECKING:
    import pandas as pd

#: The feed among eight whose labels the demo spoils, and the share of them.
BAD_FEED, SPOILT = "feed-7", 0.3


def rows() -> pd.DataFrame:
    """1,250 web pages, nine three-valued features, in the order in which they were reported.

    The data ships in the river package (Abdelhamid et al., 2014). Columns ``id`` and ``feed`` are
    the demo's own; ``phishing`` is the label.

    Raises
    ------
    MissingExtra
        Where river is not installed.
    """
    import pandas as pd

    try:
        from river.datasets import Phishing
    except ImportError:
        raise MissingExtra("river", "demo") from None
    records = [{**features, "phishing": int(label)} for features, label in Phishing()]
    table = pd.DataFrame(records)
    table.insert(0, "id", [f"page-{i:04d}" for i in range(len(table))])
    table.insert(1, "feed", [f"feed-{1 + i * 5 % 8}" for i in range(len(table))])
    return table


def spoil(train: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, list[str]]:
    """Training rows of which one feed has a share of wrong labels.

    Returns
    -------
    tuple
        The rows, and the ids of those whose label was turned: the truth that an audit must find.
    """
    rng = np.random.default_rng(seed)
    spoilt = train.copy()
    from_bad = np.flatnonzero(train["feed"] == BAD_FEED)
    turned = rng.choice(from_bad, size=round(SPOILT * len(from_bad)), replace=False)
    column = spoilt.columns.get_loc("phishing")
    spoilt.iloc[turned, column] = 1 - spoilt.iloc[turned, column]
    return spoilt, [str(i) for i in spoilt["id"].iloc[turned]]


def detector(train: pd.DataFrame, seed: int) -> Any:
    """Gradient-boosted trees in a Pipeline that treats every column as the ordinal it is."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    model = make_pipeline(
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        HistGradientBoostingClassifier(max_iter=100, random_state=seed),
    )
    return model.fit(train.drop(columns=["id", "feed", "phishing"]), train["phishing"])


def learner() -> Any:
    """A fresh incremental detector: scaled logistic regression by stochastic gradient descent."""
    from river import linear_model, preprocessing

    return preprocessing.StandardScaler() | linear_model.LogisticRegression()


def write(folder: Path, seed: int) -> list[str]:
    """Train, and write model, data and stream; return the ids of the spoilt rows."""
    import joblib

    table = rows()
    order = np.random.default_rng(seed).permutation(len(table))
    test = table.iloc[np.sort(order[:400])].reset_index(drop=True)
    clean = table.iloc[np.sort(order[400:])].reset_index(drop=True)
    train, turned = spoil(clean, seed)
    joblib.dump(detector(train, seed), folder / "phishing.joblib")
    train.to_csv(folder / "phishing-train.csv", index=False)
    test.drop(columns="feed").to_csv(folder / "phishing-test.csv", index=False)
    table.drop(columns="feed").to_csv(folder / "phishing-stream.csv", index=False)
    return turned
