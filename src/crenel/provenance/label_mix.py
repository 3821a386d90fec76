"""Whether a source's labels come as they used to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.provenance.index import RowIndex
from crenel.provenance.outcome import Test
from crenel.provenance.trust import GateRule

Counts = NDArray[np.integer[Any]]

#: Least expected count at which the chi-square distribution is trusted (Cochran 1954).
EXPECTED = 5
#: Labels that are told apart; the rarest of more count as one.
KINDS = 50
#: Tables drawn where it is not.
DRAWS = 20_000


def label_tests(
    trusted: RowIndex, batch: RowIndex, rule: GateRule, *, continuous: bool = False
) -> list[Test]:
    """Compare the labels of each source of a batch with those it gave before.

    A source that is new is compared with all trusted rows. A difference counts where it is larger
    than the rule allows and chance does not explain it, with Bonferroni's correction for the
    number of sources.

    Parameters
    ----------
    trusted, batch : RowIndex
    rule : GateRule
    continuous : bool
        Whether labels are amounts: then by Kolmogorov and Smirnov's test.
    """
    known = [label for label in batch.labels if label]
    strange = [] if continuous else [label for label in known if label not in trusted.labels]
    shown = ", ".join(map(repr, strange[:5]))
    tests = [
        Test(
            "labels",
            not strange,
            f"labels that no trusted row has: {shown}" if strange else "all labels are known ones",
        )
    ]
    samples = list(_samples(trusted, batch))
    for name, old, new in samples:
        if continuous:
            distance, p = _amounts(trusted.labels, old, batch.labels, new)
        else:
            distance, p = label_shift(*_counts(trusted, old, batch, new))
        chance = p >= rule.significance / len(samples)
        shown = name or "a source without a name"
        told = f"labels from {shown} differ by {distance:.3f} from those before (p = {p:.2g}"
        told += f"; allowed {rule.label_shift:g})"
        passed = chance or distance <= rule.label_shift
        tests.append(Test(f"label mix {name}", passed, told, {"distance": distance, "p": p}))
    return tests


def _samples(trusted: RowIndex, batch: RowIndex) -> Iterator[tuple[str, Counts, Counts]]:
    """For each source of the batch: its name, and label codes before and now."""
    for code, name in enumerate(batch.sources):
        new = batch.label_codes[batch.source_codes == code]
        if not len(new):
            continue
        old = trusted.label_codes
        if name in trusted.sources:
            old = old[trusted.source_codes == trusted.sources.index(name)]
        yield name, old, new


def _counts(trusted: RowIndex, old: Counts, batch: RowIndex, new: Counts) -> tuple[Counts, Counts]:
    """How often each label, of all that occur, was given before and is given now."""
    names = sorted({*trusted.labels, *batch.labels})
    places = {name: i for i, name in enumerate(names)}
    out = []
    for index, codes in ((trusted, old), (batch, new)):
        place = np.array([places[label] for label in index.labels], dtype=np.int64)
        out.append(np.bincount(place[codes[codes >= 0]], minlength=len(names)))
    if len(names) <= KINDS:
        return out[0], out[1]
    rare = np.argsort(out[0] + out[1], kind="stable")[: len(names) - KINDS + 1]
    before, now = (np.append(np.delete(c, rare), c[rare].sum()) for c in out)
    return before, now


def label_shift(before: Counts, now: Counts, seed: int = 0) -> tuple[float, float]:
    """How far two samples of labels are apart, and how probable chance alone makes that.

    Parameters
    ----------
    before, now : ndarray, shape (k,), int64
        How often each label occurs.
    seed : int

    Returns
    -------
    distance : float
        Total variation, in [0, 1].
    p : float
        Of the chi-square test of homogeneity; where a count of less than 5 is expected, of the
        same statistic over tables drawn with these sums (multivariate hypergeometric).
    """
    from scipy.stats import chi2

    seen = before + now > 0
    before, now = before[seen], now[seen]
    n, m = int(before.sum()), int(now.sum())
    if n == 0 or m == 0 or len(now) < 2:
        return 0.0, 1.0
    distance = float(np.abs(before / n - now / m).sum() / 2)
    expected = (before + now) * (m / (n + m))

    def statistic(counts: Counts) -> NDArray[np.float64]:
        value: NDArray[np.float64] = ((counts - expected) ** 2 / expected).sum(axis=-1)
        return value * ((n + m) / n)

    found = float(statistic(now))
    if expected.min() >= EXPECTED and (before + now - expected).min() >= EXPECTED:
        return distance, float(chi2.sf(found, len(now) - 1))
    draws = np.random.default_rng(seed).multivariate_hypergeometric(
        before + now, m, size=DRAWS, method="marginals"
    )
    as_far = int((statistic(draws) >= found * (1 - 1e-12)).sum())
    return distance, (1 + as_far) / (1 + DRAWS)


def _amounts(
    old_labels: tuple[str, ...], old: Counts, new_labels: tuple[str, ...], new: Counts
) -> tuple[float, float]:
    from scipy.stats import ks_2samp

    a, b = (
        np.array([float(labels[c]) for c in codes if c >= 0 and labels[c]])
        for labels, codes in ((old_labels, old), (new_labels, new))
    )
    if not len(a) or not len(b):
        return 0.0, 1.0
    result = ks_2samp(a, b)
    return float(result.statistic), float(result.pvalue)
