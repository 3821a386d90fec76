"""Training a user's trees again with wider margins: candidates, cross-validation, choice."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context
from crenel.errors import NotApplicable
from crenel.evasion.hardening.robust_trees import robust_forest, robust_tree
from crenel.evasion.hardening.tree_settings import monotone, wider_margins
from crenel.evasion.hardening.verdict import MOST_LOST, Paired, paired, percent, worth
from crenel.evasion.trees.report import Inputs, read_inputs
from crenel.remedy import Treatment
from crenel.subject import Data, Subject, take_rows
from crenel.training.folds import fold_numbers
from crenel.training.threads import one_core

if TYPE_CHECKING:
    from crenel.adapters.sklearn import Labels
    from crenel.finding import Finding
    from crenel.model import Model

#: Rows of the comparison, folds, rows attacked in each fold, boxes searched for each.
MOST, FOLDS, ATTACKED, NODES = 4000, 2, 60, 3000
#: Radii in interquartile ranges that may be trained for; the least is that of EVA-103's finding.
RADII = (0.05, 0.1, 0.2, 0.5)
#: Rows that the training is attacked on in each round, and rounds.
WITNESSES, ROUNDS = 400, 2
#: Seconds of the comparison where no deadline is given; of one attack in it.
SECONDS, ATTACK_SECONDS = 240.0, 10.0

Fit = Callable[[NDArray[Any], NDArray[np.int64], int], Any]


@dataclass(frozen=True)
class Threat:
    """How far the attacker moves the trees' own input.

    Attributes
    ----------
    epsilon : float
        In units of ``scale``.
    scale, low, high : ndarray, shape (d,)
        Scale 0 where a column is fixed.
    whole : ndarray of bool, shape (d,)
    """

    epsilon: float
    scale: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    whole: NDArray[np.bool_]

    @classmethod
    def of(cls, inputs: Inputs, epsilon: float) -> Threat:
        """The attacker of EVA-103 within one radius."""
        free = np.array([o is not None for o in inputs.owner])
        scale = np.where(free, inputs.scale, 0.0)
        return cls(epsilon, scale, inputs.low, inputs.high, inputs.whole)

    def attack(self, final: Any, x: NDArray[Any], y: NDArray[np.int64]) -> Any:
        """Exact distances of rows within the radius; infinite where none turns the decision."""
        from crenel.evasion.trees import tree_distance, warm_up

        warm_up()  # what is compiled once is not this attack's time
        reach = self.epsilon * self.scale
        held = np.nan_to_num(x)
        low = np.where(self.scale > 0, np.maximum(self.low, held - reach), held)
        high = np.where(self.scale > 0, np.minimum(self.high, held + reach), held)
        return tree_distance(
            final, x, y, box=(np.minimum(low, held), np.maximum(high, held)), scale=self.scale,
            integer=self.whole, node_limit=NODES, deadline=ATTACK_SECONDS, indices=True,
        )  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """What candidates are trained and compared on: the trees' own input and labels.

    Attributes
    ----------
    own : object
        The user's fitted last step.
    labels : Labels
        Its labels and the model's.
    x, y : ndarray, shapes (n, d), (n,)
        What it is fed, and class indices.
    """

    own: Any
    labels: Labels
    x: NDArray[Any]
    y: NDArray[np.int64]
    names: tuple[str, ...] | None
    threat: Threat

    def fit(self, settings: dict[str, Any]) -> Fit:
        """Training of the user's kind of estimator with some settings changed."""
        from crenel.adapters.sklearn import seeded

        def trained(x: NDArray[Any], y: NDArray[np.int64], seed: int) -> Any:
            new = seeded(self.own, seed).set_params(**settings)
            with one_core():
                return new.fit(self.shaped(x), self.labels.own(y))

        return trained

    def shaped(self, x: NDArray[Any]) -> Any:
        """Rows as the user's last step was trained on them: with names where it knows them."""
        if self.names is None:
            return x
        import pandas as pd

        return pd.DataFrame(x, columns=list(self.names))

    def decided(self, final: Any, x: NDArray[Any]) -> NDArray[np.int64]:
        """Decisions of a last step as class indices of the model."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*feature names")
            return self.labels.indices(final.predict(self.shaped(x)))

    def indices(self, y: NDArray[np.int64]) -> NDArray[np.int64]:
        """Class indices of the model as those of the last step, as the search counts them."""
        return np.asarray(np.searchsorted(self.labels.native, self.labels.own(y)), dtype=np.int64)


@dataclass(frozen=True)
class Candidate:
    """One way to train, by name."""

    name: str
    fit: Fit
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """A candidate, and how rows that it did not see stand."""

    candidate: Candidate
    right: NDArray[np.bool_]
    stands: NDArray[np.bool_]

    @property
    def rank(self) -> float:
        """Rows that stand under attack, and rows decided rightly, as shares, added."""
        return float(self.right.mean() + self.stands.mean())


def harden_trees(subject: Subject, finding: Finding | None, context: Context) -> Treatment:
    """Train the user's trees again with wider margins, where that is worth its price.

    Raises
    ------
    crenel.errors.NotApplicable
        Where the trees cannot be trained again, or nothing that an attacker moves reaches them.
    """
    model, train = subject.model, subject.train
    assert model is not None
    assert train is not None
    bench = bench_of(subject, finding, context)
    trials = compared(bench, context)
    own, best = trials[0], max(trials, key=lambda t: t.rank)
    clean, robust = paired(own.right, best.right), paired(own.stands, best.stands)
    if best is own or not worth(clean, robust):
        return _unchanged(subject, len(trials), bench, clean, robust, best)
    hardened = retrained(model, train, bench, best.candidate, context.derive_seed("refit"))
    values = _values(bench, clean, robust)
    if subject.test is not None:
        before, after = (m.predict(subject.test.x) == subject.test.y for m in (model, hardened))
        test = paired(before, after)
        values |= {"accuracy_before": test.before, "accuracy_after": test.after}
        if test.change < -MOST_LOST:
            return _unchanged(subject, len(trials), bench, test, robust, best)
    return Treatment(
        subject=subject.with_model(hardened),
        sentence=_sentence(best, bench, clean, robust),
        values=values,
        model=hardened.native,
    )


def bench_of(subject: Subject, finding: Finding | None, context: Context) -> Bench:
    """The trees' own input and the attacker of EVA-103, at the radius to train for."""
    from crenel.adapters.labels import as_labels
    from crenel.adapters.sklearn import match_labels
    from crenel.data import infer_schema

    model, train = subject.model, subject.train
    assert model is not None
    assert train is not None
    if not hasattr(model.final, "get_params") or model.fit is None:
        raise NotApplicable(
            "these trees cannot be trained again; give the estimator rather than its booster"
        )
    pick = np.sort(context.rng("sample").permutation(len(train))[:MOST])
    some = train.take(pick)
    inputs = read_inputs(model, some.x, some.x, subject.schema or infer_schema(train.x))
    if all(o is None for o in inputs.owner):
        raise NotApplicable("no number that an attacker can change reaches the trees")
    names = getattr(model.final, "feature_names_in_", None)
    own = match_labels(as_labels(model.final.classes_), model.classes.tolist())
    bench = Bench(
        model.final, own, inputs.x, some.y, None if names is None else tuple(map(str, names)),
        Threat.of(inputs, RADII[0]),
    )  # fmt: skip
    return replace(bench, threat=replace(bench.threat, epsilon=_radius(bench, finding)))


def _radius(bench: Bench, finding: Finding | None) -> float:
    """From the finding's radius up, the one whose harm is nearest a half."""
    given = None if finding is None else finding.evidence.values.get("epsilon")
    least = float(given) if isinstance(given, float) and given > 0 else RADII[0]
    radii = sorted({least, *(r for r in RADII if r > least)})
    rows = np.flatnonzero(bench.decided(bench.own, bench.x) == bench.y)[:ATTACKED]
    if not rows.size:
        raise NotApplicable("the trees decide none of the training rows rightly")
    widest = replace(bench.threat, epsilon=radii[-1])
    found = widest.attack(bench.own, bench.x[rows], bench.indices(bench.y[rows])).upper
    harm = np.array([(found <= r).mean() for r in radii])
    return radii[int(np.argmin(np.abs(harm - 0.5)))]


def compared(bench: Bench, context: Context) -> list[Trial]:
    """Candidates cross-validated until time ends; the first trial is the user's own way."""
    end = time.monotonic() + min(SECONDS, 0.7 * context.time_left())
    own = Candidate("as it was", bench.fit({}))
    trials = [_trial(bench, own, context)]
    for candidate in [*_settings(bench), *_robust(bench)]:
        if time.monotonic() >= end:
            return trials
        trials.append(_trial(bench, candidate, context))
        context.progress(len(trials) / 12)
    best = max(trials, key=lambda t: t.rank).candidate
    for candidate in _combined(bench, best):
        if time.monotonic() >= end:
            break
        trials.append(_trial(bench, candidate, context))
    return trials


def _settings(bench: Bench) -> list[Candidate]:
    found = [Candidate(name, bench.fit(s), s) for name, s in wider_margins(bench.own)]
    return found + _monotone(bench, Candidate("", bench.fit({})))


def _monotone(bench: Bench, base: Candidate) -> list[Candidate]:
    constraint = monotone(bench.own, bench.x, bench.y)
    if not constraint or set(constraint) & set(base.settings):
        return []
    settings = {**base.settings, **constraint}
    name = f"{base.name}, monotone" if base.name else "monotone constraints"
    return [Candidate(name, bench.fit(settings), settings)]


def _robust(bench: Bench) -> list[Candidate]:
    """Robust splits, for two classes and tables without missing values."""
    if len(bench.labels.native) != 2 or not np.isfinite(bench.x).all():
        return []
    single = type(bench.own).__name__ == "DecisionTreeClassifier"
    depth = bench.own.get_params().get("max_depth") if single else None
    count = int(min(100, bench.own.get_params().get("n_estimators") or 60))

    def at(share: float) -> Candidate:
        reach = share * bench.threat.epsilon * bench.threat.scale

        def fit(x: NDArray[Any], y: NDArray[np.int64], seed: int) -> Any:
            own = bench.labels.own(y)
            if single:
                return robust_tree(x, own, reach, max_depth=depth, seed=seed)
            return robust_forest(x, own, reach, n_estimators=count, min_samples_leaf=2, seed=seed)

        kind = "tree" if single else f"forest of {count} trees"
        return Candidate(f"robust splits ({kind}) at {share:g} times the radius", fit)

    return [at(1.0), at(0.5)]


def _combined(bench: Bench, best: Candidate) -> list[Candidate]:
    """The best so far with constraints, and trained on its own witnesses."""
    base = Candidate("", best.fit) if best.name == "as it was" else best
    more = _monotone(bench, base) if best.settings else []
    name = f"{base.name}, trained on its witnesses" if base.name else "trained on its witnesses"
    return [*more, Candidate(name, _witnessed(bench, best.fit), best.settings)]


def _witnessed(bench: Bench, fit: Fit) -> Fit:
    """Train, attack the training rows exactly, train again with what turned the decision."""

    def trained(x: NDArray[Any], y: NDArray[np.int64], seed: int) -> Any:
        rng = np.random.default_rng(seed)
        final, parts, labels = fit(x, y, seed), [x], [y]
        for _ in range(ROUNDS):
            rows = rng.permutation(len(x))[:WITNESSES]
            rows = rows[bench.decided(final, x[rows]) == y[rows]]
            found = bench.threat.attack(final, x[rows], bench.indices(y[rows]))
            hit = np.isfinite(found.upper)
            if not hit.any():
                break
            parts.append(found.adversarial[hit].astype(x.dtype))
            labels.append(y[rows[hit]])
            final = fit(np.concatenate(parts), np.concatenate(labels), seed)
        return final

    return trained


def _trial(bench: Bench, candidate: Candidate, context: Context) -> Trial:
    """Accuracy out of fold, and the rows that no change within the radius turns, proven."""
    fold = fold_numbers(bench.y, FOLDS, context.derive_seed("folds"))
    right, stands = np.zeros(len(bench.y), dtype=bool), []
    for k in range(FOLDS):
        inside, outside = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        final = candidate.fit(bench.x[inside], bench.y[inside], context.derive_seed("fit", k))
        right[outside] = bench.decided(final, bench.x[outside]) == bench.y[outside]
        some = outside[:ATTACKED]
        got = bench.threat.attack(final, bench.x[some], bench.indices(bench.y[some]))
        stands.append(right[some] & (got.lower > bench.threat.epsilon))
    return Trial(candidate, right, np.concatenate(stands))


def retrained(model: Model, train: Data, bench: Bench, candidate: Candidate, seed: int) -> Model:
    """The user's model with its last step trained in the candidate's way on all rows."""
    assert model.fit is not None
    own = model.fit

    def fit(x: Any, y: NDArray[np.int64], seed: int) -> Model:
        return _assembled(own(x, y, seed), x, y, bench, candidate, seed, fit)

    return _assembled(model, train.x, train.y, bench, candidate, seed, fit)


def _assembled(
    model: Model, x: Any, y: NDArray[np.int64], bench: Bench, candidate: Candidate, seed: int,
    fit: Any,
) -> Model:  # fmt: skip
    """A copy of a model whose last step is replaced by a newly trained one."""
    from crenel.adapters import wrap
    from crenel.evasion.trees.report import _feed

    final = candidate.fit(_feed(model)(x), y, seed)
    native = copy.deepcopy(getattr(model.native, "best_estimator_", model.native))
    inner = native
    if getattr(inner, "steps", None):
        while getattr(inner.steps[-1][1], "steps", None):
            inner = inner.steps[-1][1]
        inner.steps[-1] = (inner.steps[-1][0], final)
    else:
        native = final
    columns = [str(c) for c in x.columns] if hasattr(x, "columns") else None
    wrapped = wrap(
        native, classes=model.classes.tolist(), columns=columns, sample=take_rows(x, np.arange(1))
    )
    return replace(wrapped, fit=fit)


def _values(bench: Bench, clean: Paired, robust: Paired) -> dict[str, float]:
    return {
        "epsilon": bench.threat.epsilon,
        "accuracy_before": clean.before,
        "accuracy_after": clean.after,
        "robust_before": robust.before,
        "robust_after": robust.after,
    }


def _sentence(best: Trial, bench: Bench, clean: Paired, robust: Paired) -> str:
    return (
        f"trained again with {best.candidate.name}: by cross-validation "
        f"{percent(robust.after)} of rows are proven to stand within {bench.threat.epsilon:g} "
        f"interquartile ranges (before {percent(robust.before)}), and accuracy goes from "
        f"{percent(clean.before)} to {percent(clean.after)}"
    )


def _unchanged(
    subject: Subject, count: int, bench: Bench, clean: Paired, robust: Paired, best: Trial
) -> Treatment:
    dear = clean.change < -MOST_LOST
    reason = (
        f"costs more than {100 * MOST_LOST:g} points of accuracy"
        if dear
        else "does not make more rows stand, beyond chance"
    )
    return Treatment(
        subject=subject,
        sentence=f"nothing was changed: of {count - 1} ways to train, the best {reason} "
        f"({_sentence(best, bench, clean, robust)})",
        values=_values(bench, clean, robust),
    )
