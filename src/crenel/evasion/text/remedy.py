"""The remedy against invisible edits: texts are read as they look."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from crenel.check import Context, Risk
from crenel.remedy import Treatment, remedy
from crenel.subject import Data, Subject

if TYPE_CHECKING:
    from crenel.finding import Finding
    from crenel.model import Model


@remedy(
    "normalise-text",
    risk=Risk.EVASION,
    title="Normalise texts in front of the model",
    checks=("EVA-105",),
    needs=("model", "classification", "text", "test"),
)
def normalise_text(subject: Subject, finding: Finding, context: Context) -> Treatment:
    """Put a step in front of the model that undoes invisible edits, and train again behind it.

    Compatibility forms are folded (NFKC), characters without width and stray combining marks are
    removed, and look-alikes in words that mix scripts become the Latin letters that they stand
    for. Where the model can be trained again and training rows are given, it learns from
    normalised rows; else the step is put before the model as it is. Measured again, the attacker
    asks the model through the step, and is left with the edits that show. Nothing is changed
    where accuracy on the test rows falls beyond noise.
    """
    from crenel.evasion.text.columns import text_features

    model, train, test = subject.model, subject.train, subject.test
    assert model is not None
    assert test is not None
    assert subject.schema is not None
    columns = [f.name for f in text_features(subject.schema)]
    inner, learnt = model, False
    if model.fit is not None and train is not None:
        inner = model.fit(_front(train.x, columns), train.y, context.derive_seed("refit"))
        learnt = True
    hardened = behind(inner, columns, test.x)
    before, after = _right(model, test), _right(hardened, test)
    values = {
        "accuracy_before": float(before.mean()),
        "accuracy_after": float(after.mean()),
        "texts_changed": float(np.mean(_changed(test.x, columns))),
    }
    lost = before.astype(float) - after
    if lost.mean() > 2 * lost.std() / np.sqrt(len(lost)):
        return Treatment(
            subject=subject, values=values | {"accuracy_after": values["accuracy_before"]},
            sentence="rolled back: behind the normalisation of texts the model loses "
            f"{100 * lost.mean():.1f} points of accuracy on the test rows, more than noise",
        )  # fmt: skip
    return Treatment(
        subject=subject.with_model(hardened),
        sentence=f"texts are normalised before {'training and use' if learnt else 'use'}: "
        f"{100 * values['texts_changed']:.1f} % of honest test rows read otherwise, accuracy "
        f"{100 * (values['accuracy_after'] - values['accuracy_before']):+.1f} points on them",
        values=values,
        model=hardened.native if model.framework == "sklearn" else None,
    )


def behind(model: Model, columns: list[str], sample: Any) -> Model:
    """The same model, asked through the normalisation of some columns of its rows.

    Parameters
    ----------
    model : Model
    columns : list of str
    sample : DataFrame
        Some rows, which show whether the user's own object takes a table or texts.
    """

    def decide(x: Any) -> Any:
        return model.decide(_front(x, columns))

    def score(x: Any) -> Any:
        assert model.score is not None
        return model.score(_front(x, columns))

    def fit(x: Any, y: Any, seed: int) -> Model:
        assert model.fit is not None
        return behind(model.fit(_front(x, columns), y, seed), columns, sample)

    def transform(x: Any) -> Any:
        assert model.transform is not None
        return model.transform(_front(x, columns))

    return replace(
        model,
        decide=decide,
        score=None if model.score is None else score,
        fit=None if model.fit is None else fit,
        transform=None if model.transform is None else transform,
        features=None,
        native=_pipeline(model.native, columns, sample)
        if model.framework == "sklearn"
        else model.native,
        description=f"{model.description} behind the normalisation of texts",
    )


def _pipeline(native: Any, columns: list[str], sample: Any) -> Any:
    """The user's own estimator with the normalisation as a first step."""
    from sklearn.pipeline import Pipeline

    from crenel.adapters.sklearn import first_of
    from crenel.adapters.texts import takes_texts, wants_texts
    from crenel.evasion.text.normalising import TextNormaliser

    texts = takes_texts(first_of(native)) or (
        getattr(native, "feature_names_in_", None) is None
        and wants_texts(native.predict, sample.head(32))
    )
    step = TextNormaliser(None if texts else list(columns)).fit(sample)
    return Pipeline([("normalise", step), ("model", native)])


def _front(x: Any, columns: list[str]) -> Any:
    from crenel.evasion.text.normalising import TextNormaliser

    return TextNormaliser(columns).transform(x)


def _right(model: Model, data: Data) -> Any:
    return np.asarray(model.predict(data.x)) == data.y


def _changed(x: Any, columns: list[str]) -> Any:
    """Which rows the normalisation changes."""
    new = _front(x, columns)
    return np.any([np.asarray(new[c].fillna("") != x[c].fillna("")) for c in columns], axis=0)
