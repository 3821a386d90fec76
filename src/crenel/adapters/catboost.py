"""CatBoost's own model files; its estimators are wrapped like scikit-learn's."""

from __future__ import annotations

from typing import Any

from crenel.errors import MissingExtra


def load(content: bytes) -> Any:
    """The estimator that a CatBoost file (``.cbm``) holds.

    Parameters
    ----------
    content : bytes
        The whole file.

    Returns
    -------
    catboost.CatBoostClassifier or catboost.CatBoostRegressor

    Raises
    ------
    crenel.errors.MissingExtra
        Where CatBoost is not installed.
    """
    try:
        import catboost
    except ImportError as error:
        raise MissingExtra("catboost", "catboost") from error
    classifier = catboost.CatBoostClassifier()
    classifier.load_model(blob=content)
    if len(classifier.classes_):
        return classifier
    regressor = catboost.CatBoostRegressor()
    regressor.load_model(blob=content)
    return regressor
