"""Randomized smoothing: an L2 radius proven for the vote of any model under Gaussian noise.

Cohen, Rosenfeld and Kolter (2019), "Certified adversarial robustness via randomized smoothing".
The confidence holds for each row by itself, and holds when sampling stops early: it is shared
out over the looks in advance (a union bound over looks).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binomtest, norm

from crenel.errors import UsageError

#: What `Smoothed` answers where the vote is not clear enough.
ABSTAIN = -1


@dataclass(frozen=True)
class SmoothedCertificate:
    """What smoothing proves of rows.

    Attributes
    ----------
    decision : ndarray of int64, shape (n,)
        The vote's winner; -1 where it is not clear at the confidence asked for.
    radius : ndarray of float64, shape (n,)
        L2 radius within which the vote's winner does not change; 0 where it abstains.
    share : ndarray of float64, shape (n,)
        Lower bound on the winner's share of votes.
    queries : ndarray of int64, shape (n,)
        Noisy copies asked of the model.
    """

    decision: NDArray[np.int64]
    radius: NDArray[np.float64]
    share: NDArray[np.float64]
    queries: NDArray[np.int64]


@dataclass(frozen=True)
class Smoothed:
    """A classifier that takes the vote of a model on noisy copies of a row.

    Attributes
    ----------
    decide : callable
        From rows (m, …) to class indices (m,).
    classes : int
        Number of classes k.
    sigma : float
        Standard deviation of the noise, in units of the rows.
    alpha : float
        Chance that a certificate of one row is wrong.
    bounds : (low, high) or None
        Noisy copies are put back into this range before the model sees them, which changes what
        is smoothed but keeps the proof; None leaves them.
    batch_size : int
        Noisy copies asked at a time.
    """

    decide: Callable[[Any], NDArray[Any]]
    classes: int
    sigma: float
    alpha: float = 0.001
    bounds: tuple[Any, Any] | None = None
    batch_size: int = 4096

    def __post_init__(self) -> None:
        if not (np.isfinite(self.sigma) and self.sigma > 0):
            raise UsageError(f"sigma must be above 0 and finite, not {self.sigma}")
        if not 0 < self.alpha < 1:
            raise UsageError(f"alpha must lie between 0 and 1, not {self.alpha}")
        if self.classes < 2:
            raise UsageError(f"smoothing needs at least 2 classes, not {self.classes}")

    @classmethod
    def of(cls, model: Any, sigma: float, **others: Any) -> Smoothed:
        """Smooth a `crenel.model.Model`."""
        return cls(model.predict, model.k, sigma, **others)

    def votes(self, x: NDArray[Any], n: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Votes for each class of n noisy copies of each row, shape (rows, k)."""
        counts = np.zeros((len(x), self.classes), dtype=np.int64)
        rows = np.repeat(np.arange(len(x)), n)
        for i in range(0, len(rows), self.batch_size):
            part = rows[i : i + self.batch_size]
            noise = generator.standard_normal((len(part), *x.shape[1:]), dtype=np.float32)
            noisy = x[part] + self.sigma * noise
            if self.bounds is not None:
                noisy = np.clip(noisy, *self.bounds)
            decided = np.asarray(self.decide(noisy.astype(np.float32)), dtype=np.int64)
            np.add.at(counts, (part, decided), 1)
        return counts

    def predict(self, x: NDArray[Any], *, n: int = 1000, seed: int = 0) -> NDArray[np.int64]:
        """The vote's winner, or -1 where the runner-up is too near to tell, shape (rows,).

        The chance of a wrong winner is at most ``alpha`` for each row: a two-sided binomial test
        of the two classes with most votes (Cohen et al. 2019, section 3.2.2).
        """
        rows = np.asarray(x)
        counts = self.votes(rows, n, np.random.default_rng(seed))
        order = counts.argsort(axis=1)
        out = np.full(len(rows), ABSTAIN, dtype=np.int64)
        for i, (second, first) in enumerate(order[:, -2:]):
            top, both = int(counts[i, first]), int(counts[i, first] + counts[i, second])
            if binomtest(top, both, 0.5).pvalue <= self.alpha:
                out[i] = first
        return out

    def certify(
        self, x: NDArray[Any], *, n: int = 10000, first: int = 100, enough: float | None = None,
        looks: int = 4, seed: int = 0, deadline: float | None = None,
    ) -> SmoothedCertificate:  # fmt: skip
        """Prove L2 radii for rows.

        The winner is guessed from ``first`` copies; fresh ones then bound its share from below
        (Clopper and Pearson 1934), of which the radius is ``sigma`` times the normal quantile.

        Parameters
        ----------
        x : ndarray, shape (rows, …)
        n : int
            Copies for the bound, at most.
        first : int
            Copies for the guess.
        enough : float or None
            Rows whose radius has reached this take no further copies.
        looks : int
            How often the bound is looked at where ``enough`` or a deadline is given; each look
            gets its share of ``alpha``. Copies double from look to look.
        seed : int
        deadline : float or None
            On `time.monotonic`'s clock; what was proven until then is returned.
        """
        rows = np.asarray(x)
        generator = np.random.default_rng(seed)
        guess = self.votes(rows, first, generator).argmax(axis=1) if len(rows) else np.zeros(0, int)
        sizes = _schedule(n, looks if enough is not None or deadline is not None else 1)
        hits, tried = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=np.int64)
        share = np.zeros(len(rows))
        for size in sizes:
            open_ = np.arange(len(rows))
            if enough is not None:
                open_ = open_[self._radius(share) < enough]
            for part in np.array_split(open_, max(1, -(-len(open_) * size // 200_000))):
                if deadline is not None and time.monotonic() >= deadline:
                    break
                votes = self.votes(rows[part], size, generator)
                hits[part] += votes[np.arange(len(part)), guess[part]]
                tried[part] += size
                lower = share_below(hits[part], tried[part], self.alpha / len(sizes))
                share[part] = np.maximum(share[part], lower)
        radius = self._radius(share)
        decision = np.where(radius > 0, guess, ABSTAIN)
        return SmoothedCertificate(decision, radius, share, tried + first)

    def _radius(self, share: NDArray[np.float64]) -> NDArray[np.float64]:
        quantile = norm.ppf(np.clip(share, 0.5, 1 - 1e-16))
        return np.asarray(self.sigma * np.maximum(quantile, 0.0))


def share_below(
    hits: NDArray[np.int64], tried: NDArray[np.int64], alpha: float
) -> NDArray[np.float64]:
    """Lower bounds on a share that are wrong with a chance of at most ``alpha``, one-sided.

    Clopper and Pearson (1934), "The use of confidence or fiducial limits illustrated in the case
    of the binomial".
    """
    bound = beta.ppf(alpha, np.maximum(hits, 1), tried - hits + 1)
    return np.asarray(np.where(hits > 0, bound, 0.0), dtype=np.float64)


def _schedule(n: int, looks: int) -> list[int]:
    """Copies added at each look: doubling in all, ``n`` at the end."""
    ends = sorted({max(1, n >> (looks - 1 - i)) for i in range(looks)})
    return [b - a for a, b in zip([0, *ends], ends, strict=False)]
