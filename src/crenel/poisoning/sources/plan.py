"""What POI-103 trains: which sources to leave out and to turn, within the time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context
from crenel.errors import NotApplicable
from crenel.poisoning.dose.attacks import chosen_flips, random_flips
from crenel.poisoning.dose.corruption import subset
from crenel.poisoning.dose.flips import Chooser, Flips
from crenel.poisoning.dose.plan import VALUES, Reference, reference, values_seen
from crenel.poisoning.dose.response import Response, dose_response
from crenel.poisoning.influence.effects import SourceInfluence
from crenel.poisoning.sources.effects import (
    Concentration,
    Effect,
    concentration,
    label_mix,
    loss,
    source_effects,
    turned,
)
from crenel.poisoning.sources.shapley import knn_shapley, source_values
from crenel.statistics import Interval
from crenel.subject import Data, Subject
from crenel.training.folds import out_of_fold
from crenel.training.threads import one_core, side_by_side

#: Sources that are all tried; with more, the suspicious ones are chosen first.
ALL, CHOSEN = 12, 10
#: Test rows that estimates are judged on, and training rows that they follow through boosting.
JUDGED, FOLLOWED = 2_000, 2_048
#: Neighbours whose values are computed; further ones' are below 1 / NEAREST.
NEAREST = 100
#: Sources, the worst, of which it is tried what labels they would choose.
CHOOSERS = 3
#: Shares of what the worst source would turn.
DOSES = (1.0, 0.5, 0.25, 0.1)
#: Seconds of training at most where no deadline says otherwise: of models so slow that the values
#: they see do not tell.
SECONDS = 90.0

Worth = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Sourced:
    """Everything POI-103 measured.

    Attributes
    ----------
    reference : Reference
    concentration : Concentration
        Of all training rows.
    sources : int
        In the training data.
    effects : tuple of Effect
        Of the sources tried, worst first by what they could do.
    together : dict of int to Interval
        Accuracy lost if so many sources turn all their labels, by ascending number.
    unlimited : Interval
        Accuracy lost if nine tenths of the sources' rows are turned.
    mixed : tuple of str
        Sources whose labels are spread otherwise than those of the rest.
    influence : SourceInfluence
        What training without each of all sources would do, estimated.
    worth : tuple of two ndarray, shape (s,), float64, or None
        Mean Shapley value of each source's rows to their nearest neighbours, and its upper 95 %
        bound; None where no column of the rows gives a distance.
    curves : tuple of Response
        Accuracy lost to the worst source by labels turned: chosen ones, and random ones; empty
        where time did not allow it.
    """

    reference: Reference
    concentration: Concentration
    sources: int
    effects: tuple[Effect, ...]
    together: dict[int, Interval]
    unlimited: Interval
    mixed: tuple[str, ...]
    influence: SourceInfluence
    worth: Worth | None
    curves: tuple[Response, ...]


def run(subject: Subject, context: Context) -> Sourced:
    """Measure what sources do and could do.

    Raises
    ------
    NotApplicable
        Where all rows come from one source.
    """
    assert subject.train is not None
    assert subject.train.source is not None
    everything = subject.train.source.astype(str)
    if len(np.unique(everything)) < 2:
        raise NotApplicable("all training rows come from one source")
    with one_core():
        return _run(subject, everything, context)


def _run(subject: Subject, everything: NDArray[np.str_], context: Context) -> Sourced:
    ref = reference(subject, context)
    names, codes = _coded(ref.train)
    influence = estimated(ref, context)
    worth = values_of(ref, codes, context)
    tried = choose(ref, names, codes, influence, worth, context)
    tried = _affordable(tried, ref, context)
    seed = ref.repetitions.seed
    effects = source_effects(ref.clean, ref.train, ref.test, tried, seed, context)
    chooser = Chooser(ref.train, ref.clean.k, context.derive_seed("flips"))
    effects = _chosen(ref, effects, chooser, seed, context)
    together, unlimited = _together(ref, effects, chooser, seed, context)
    curves = _curves(ref, effects[0].name, chooser, context)
    mix = label_mix(ref.train.y, codes, ref.clean.k)
    mixed = tuple(str(names[i]) for i in np.flatnonzero(mix < 0.01))
    return Sourced(
        ref,
        concentration(everything),
        len(np.unique(everything)),
        tuple(effects),
        together,
        unlimited,
        mixed,
        influence,
        worth,
        curves,
    )


def _coded(train: Data) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    assert train.source is not None
    names, codes = np.unique(train.source.astype(str), return_inverse=True)
    return names, codes.astype(np.int64)


def estimated(ref: Reference, context: Context) -> SourceInfluence:
    """What training without each source would do, without training."""
    from crenel.poisoning.influence import source_influence, warm_up

    with context.untimed():  # once on a machine, the kernels are compiled
        warm_up(ref.clean.final)
    judged = ref.test.take(subset(len(ref.test), JUDGED, context.rng("judged")))
    seed = context.derive_seed("influence")
    found: SourceInfluence = source_influence(ref.clean, ref.train, judged, seed, FOLLOWED)
    return found


def values_of(ref: Reference, codes: NDArray[np.int64], context: Context) -> Worth | None:
    """What each source's rows are worth to their neighbours, in the mean."""
    judged = ref.test.take(subset(len(ref.test), JUDGED, context.rng("judged")))
    train, test = (ref.train.x, ref.train.y), (judged.x, judged.y)
    try:
        values = knn_shapley(train, test, nearest=NEAREST)
    except NotApplicable:
        return None
    return source_values(values, codes)


def choose(
    ref: Reference,
    names: NDArray[np.str_],
    codes: NDArray[np.int64],
    influence: SourceInfluence,
    worth: Worth | None,
    context: Context,
) -> list[str]:
    """The sources to try: all of up to twelve, else the largest and the most suspicious.

    Suspicious are those without which the model would lose least by estimate, those whose
    labels contradict models trained without them (whole sources are held out together), and those
    whose rows are worth least to their neighbours.
    """
    rows = np.bincount(codes, minlength=len(names))
    if len(names) <= ALL:
        return [str(names[i]) for i in np.argsort(-rows, kind="stable")]
    against = held_out_errors(ref, codes, context)
    each = [
        np.argsort(-against, kind="stable")[:CHOSEN],
        np.argsort(-influence.loss, kind="stable")[:CHOSEN],
        np.argsort(-rows, kind="stable")[:CHOSEN],
    ]
    if worth is not None:
        each.append(np.argsort(worth[0], kind="stable")[:CHOSEN])
    order = [int(i) for place in zip(*each, strict=True) for i in place]
    return [str(names[i]) for i in list(dict.fromkeys(order))[:CHOSEN]]


def held_out_errors(
    ref: Reference, codes: NDArray[np.int64], context: Context
) -> NDArray[np.float64]:
    """Excess of errors on each source by models trained without it, in standard errors."""
    rng = context.rng("groups")
    group = (rng.permutation(int(codes.max()) + 1) % 5)[codes]
    seed = context.derive_seed("groups")
    found = out_of_fold(ref.clean, ref.train, seed, 5, context.deadline, context.jobs, group)
    wrong = (found.decisions != ref.train.y) & found.covered
    rows = np.bincount(codes, weights=found.covered)
    usual = wrong.sum() / max(1, found.covered.sum())
    spread = np.sqrt(np.maximum(rows, 1) * max(usual * (1 - usual), 1e-6))
    result: NDArray[np.float64] = (np.bincount(codes, weights=wrong) - usual * rows) / spread
    return result


def _affordable(names: list[str], ref: Reference, context: Context) -> list[str]:
    """As many sources as may be tried, in coarse steps; two at least."""
    for count in (ALL, 8, 4):
        if _affords(2 * min(count, len(names)) + 6, ref, context):
            return names[:count]
    return names[:2]


def _affords(fits: int, ref: Reference, context: Context) -> bool:
    """Whether so many trainings fit: by the values that they see and, of slow ones, by the time."""
    allowed = min(SECONDS, 0.7 * context.time_left()) * min(2, context.jobs) * 0.7
    seen = fits * values_seen(ref.train)
    return fits * ref.seconds <= allowed and seen <= VALUES[context.level]


def _chosen(
    ref: Reference, effects: list[Effect], chooser: Chooser, seed: int, context: Context
) -> list[Effect]:
    """The effects, worst first, the worst few by what they could do if they chose their labels."""
    effects = sorted(effects, key=lambda e: -e.flipped.value)
    wrong = ref.clean.predict(ref.test.x) != ref.test.y
    tasks = [
        (e, flips) for e in effects[:CHOOSERS] for flips in chooser.worst(rows_of(ref, e.name))
    ]

    def one(task: tuple[Effect, Flips]) -> Interval:
        return loss(ref.clean, task[1].applied(ref.train), ref.test, wrong, seed)

    for (effect, _), lost in zip(tasks, side_by_side(context, one, tasks, False), strict=False):
        at = next(i for i, e in enumerate(effects) if e.name == effect.name)
        old = effects[at]
        worst = max(old.flipped, lost, key=lambda i: i.value)
        effects[at] = replace(old, flipped=worst, tries=old.tries + 1)
    return sorted(effects, key=lambda e: -e.flipped.value)


def rows_of(ref: Reference, *names: str) -> NDArray[np.int64]:
    """Numbers of the training rows of some sources."""
    assert ref.train.source is not None
    return np.flatnonzero(np.isin(ref.train.source.astype(str), names))


def _together(
    ref: Reference, effects: list[Effect], chooser: Chooser, seed: int, context: Context
) -> tuple[dict[int, Interval], Interval]:
    """Accuracy lost to several sources at once, the worst first, and to nearly all rows.

    Of turning all labels and turning those that the surrogate chooses, the worse one.
    """
    wrong = ref.clean.predict(ref.test.x) != ref.test.y
    names = [e.name for e in effects]
    most = max(1, min(len(names), len(np.unique(_coded(ref.train)[1])) // 2))
    steps = [c for c in (2, 3, 5, 8) if c <= most]

    def several(task: tuple[int, bool]) -> Interval:
        count, choosing = task
        if not count:
            bad = turned(_anonymous(ref.train), ["turned"], ref.clean.k)
        elif choosing:
            bad = chooser.worst(rows_of(ref, *names[:count]))[0].applied(ref.train)
        else:
            bad = turned(ref.train, names[:count], ref.clean.k)
        return loss(ref.clean, bad, ref.test, wrong, seed)

    tasks = [(0, False), *((c, choosing) for c in steps for choosing in (True, False))]
    done = dict(zip(tasks, side_by_side(context, several, tasks, share=False), strict=False))
    losses = {1: effects[0].flipped}
    for (count, _), lost in done.items():
        if count:
            losses[count] = max(losses.get(count, lost), lost, key=lambda i: i.value)
    return losses, done[0, False]


def _curves(ref: Reference, name: str, chooser: Chooser, context: Context) -> tuple[Response, ...]:
    """Accuracy lost by so many labels that one source turns: chosen, and at random."""
    own = rows_of(ref, name)
    flips = chooser.worst(own)[0]
    attacks = [
        chosen_flips(flips, ref.test), random_flips(ref.train, ref.test, ref.clean.k, own)
    ]  # fmt: skip
    counts = [sorted({max(1, round(s * len(flips.rows))) for s in DOSES}, reverse=True)] * 2
    for repeats in (3, 1):
        if _affords((2 * len(DOSES) + 3) * repeats, ref, context):
            return tuple(
                dose_response(
                    ref.clean, ref.train, attacks, counts, repeats, context, ref.repetitions,
                    unlimited=False,
                )
            )  # fmt: skip
    return ()


def _anonymous(train: Data) -> Data:
    """The data with nine tenths of its rows under one source, "turned"."""
    source = np.where(np.arange(len(train)) % 10 == 0, "kept", "turned")
    return replace(train, source=source)
