"""Remedies against risk 5: ``limit-capacity``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crenel.check import Context, Risk
from crenel.errors import NotApplicable
from crenel.remedy import Treatment, remedy
from crenel.subject import Data, Subject

if TYPE_CHECKING:
    from crenel.confidentiality.capacity import Trial
    from crenel.finding import Finding
    from crenel.model import Model


@remedy(
    "limit-capacity",
    risk=Risk.CONFIDENTIALITY,
    title="Limit the capacity to memorise",
    checks=("CON-101",),
    needs=("model", "scores", "fit", "train", "classification"),
)
def limit_capacity(subject: Subject, finding: Finding, context: Context) -> Treatment:
    """Train the user's own kind of model again with settings that memorise less.

    Settings of ever less capacity (larger leaves, fewer rounds, stronger penalties) are compared
    by cross-validation on the training data. Of those as accurate as the user's own, within one
    standard error of the paired difference, the one that memorises least is trained on all
    training rows. The model in use is kept where no setting helps, or where the validation data
    shows a loss beyond noise. Its ``fit`` carries the new settings, so that the attacker who
    measures again trains shadows like the hardened model.
    """
    from crenel.confidentiality.capacity import best_of, choose, configured, loss

    assert subject.model is not None
    assert subject.train is not None
    trials = choose(subject.model, subject.train, context)
    own, best = trials[0], best_of(trials)
    if best is own:
        return _unchanged(
            subject,
            own,
            f"nothing was changed: none of {len(trials) - 1} settings of less capacity is as "
            "accurate and memorises a third less",
        )
    fit = configured(subject.model, best.settings).fit
    if fit is None:
        raise NotApplicable("the model cannot be trained again with other settings")
    hardened = fit(subject.train.x, subject.train.y, context.derive_seed("refit"))
    values = _values(own, best)
    if subject.test is not None:
        before, after = _right(subject.model, subject.test), _right(hardened, subject.test)
        values |= {
            "accuracy_before": float(before.mean()),
            "accuracy_after": float(after.mean()),
        }
        lost, error, _ = loss(before, after)
        if lost > 2 * error:
            return _unchanged(
                subject,
                own,
                f"rolled back: {_named(best)} loses {100 * lost:.1f} points of accuracy on the "
                f"validation data, more than noise ({100 * error:.1f})",
            )
    change = 100 * (values["accuracy_after"] - values["accuracy_before"])
    return Treatment(
        subject=subject.with_model(hardened),
        sentence=(
            f"trained again with {_named(best)}: memorisation {own.memory:.3f} to "
            f"{best.memory:.3f} by cross-validation, accuracy {change:+.1f} points on "
            f"{'validation data' if subject.test is not None else 'held-out folds'}"
        ),
        values=values,
        model=hardened.native,
    )


def _right(model: Model, data: Data) -> Any:
    return model.predict(data.x) == data.y


def _named(trial: Trial) -> str:
    return ", ".join(
        f"{name}={value:g}" if not isinstance(value, (bool, str)) else f"{name}={value}"
        for name, value in trial.settings.items()
    )


def _values(own: Trial, best: Trial) -> dict[str, float]:
    return {
        "accuracy_before": own.accuracy,
        "accuracy_after": best.accuracy,
        "memorisation_before": own.memory,
        "memorisation_after": best.memory,
    }


def _unchanged(subject: Subject, own: Trial, sentence: str) -> Treatment:
    return Treatment(subject=subject, sentence=sentence, values=_values(own, own))
