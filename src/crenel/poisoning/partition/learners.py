"""What the parts may train beside the user's own kind of model: a linear model of any table."""

from __future__ import annotations

from typing import Any

from crenel.model import Model
from crenel.subject import Data

#: Inverse strength of the penalty: few rows are no reason to distrust them, for many models vote.
INVERSE_PENALTY = 3.0


def linear_model(model: Model, train: Data, seed: int) -> Model:
    """A logistic regression on scaled numbers and one-hot categories, for the same rows.

    Linear models learn most of what a table has to say from a hundred rows, and models that agree
    are what certificates are made of. Everything that is learnt, scales and categories too, is
    learnt from the rows of one part.

    Parameters
    ----------
    model : Model
        Its classes are taken over.
    train : Data
        A frame, or an array whose rows are flattened.
    seed : int
    """
    from crenel.adapters import wrap

    fitted = _pipeline(train.x, seed).fit(train.x, model.classes[train.y])
    return wrap(fitted, classes=model.classes.tolist())


def _pipeline(x: Any, seed: int) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

    last = LogisticRegression(C=INVERSE_PENALTY, max_iter=300, random_state=seed % 2**31)
    numbers = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())
    if not hasattr(x, "iloc"):
        return make_pipeline(FunctionTransformer(flat), numbers, last)
    numeric = [c for c in x.columns if is_number(x[c])]
    other = [c for c in x.columns if c not in numeric]
    one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=40)
    texts = make_pipeline(FunctionTransformer(as_text), one_hot)
    columns = ColumnTransformer([("numbers", numbers, numeric), ("others", texts, other)])
    return make_pipeline(columns, last)


def is_number(column: Any) -> bool:
    """Whether a column of a frame holds plain numbers."""
    return getattr(column.dtype, "kind", "O") in "biuf" and not hasattr(column.dtype, "categories")


def flat(x: Any) -> Any:
    """Rows of an array (n, …) as (n, d)."""
    return x.reshape(len(x), -1)


def as_text(x: Any) -> Any:
    """Values of a frame's columns as text, missing ones as one text more."""
    return x.astype(object).where(x.notna(), "(missing)").astype(str)
