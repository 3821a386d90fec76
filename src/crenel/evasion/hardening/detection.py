"""What a detector catches: of attacks that do not know of it, and of one that does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import UsageError
from crenel.evasion.gradients.cascade import gradient_attack
from crenel.evasion.gradients.descent import losses
from crenel.evasion.gradients.network import generator, logits_of, shaped, still, torch
from crenel.evasion.hardening.detectors import Detector

#: Steps of the adaptive attack from each start, and weights of the detector in its loss.
STEPS, WEIGHTS = 40, (0.3, 1.0, 3.0)
#: Share of attacks by those who know of a detector that it must catch to be of use.
OF_USE = 0.5


@dataclass(frozen=True)
class Detection:
    """A detector at one tolerated share of false alarms.

    Attributes
    ----------
    name : str
    tolerated, alarms : float
        False alarms aimed at, and those on clean rows that the threshold was not set on.
    unaware, aware : float
        Share of the rows that can be turned whose attack is caught: an attack on the network
        alone, and one on network and detector at once. NaN where no row can be turned.
    rows : int
        Rows that can be turned.
    """

    name: str
    tolerated: float
    alarms: float
    unaware: float
    aware: float
    rows: int

    @property
    def falls(self) -> bool:
        """Whether an attacker who knows of it passes it more often than not."""
        return not self.aware >= OF_USE


def detection(
    detector: Detector,
    module: Any,
    clean: Any,
    x: Any,
    y: Any,
    *,
    epsilon: float,
    tolerated: float = 0.01,
    seed: int = 0,
) -> Detection:
    """Attack a network behind a detector, without and with knowledge of it.

    Parameters
    ----------
    detector : Detector
    module : torch.nn.Module
        Takes rows in [0, 1].
    clean : tensor, shape (m, …)
        Clean rows on which the threshold is set.
    x : tensor, shape (n, …); y : tensor of int64, shape (n,)
        Rows to attack; those decided rightly and let through count.
    epsilon : float
        L-inf.
    tolerated : float
        Share of clean rows that may be stopped, in (0, 1).
    seed : int

    Raises
    ------
    crenel.errors.UsageError
        Where there are fewer clean rows than it takes to see one false alarm.

    Notes
    -----
    The adaptive attack (Carlini and Wagner, "Adversarial examples are not easily detected", 2017;
    Tramèr et al., "On adaptive attacks", 2020) minimises, by projected steps, a hinge on the
    margin plus a weight times a hinge on the detector's score, from the row, from a random point
    and from what turned the bare network; it stops at the first point that does both.
    """
    if not 0 < tolerated < 1 or len(clean) * tolerated < 1:
        raise UsageError(
            f"{len(clean)} clean rows are too few for false alarms of {tolerated:g}; give at least "
            f"{int(np.ceil(1 / max(tolerated, 1e-9)))}"
        )
    with still(module, seed):
        logits = logits_of(module)
        scores = _scores(detector, clean)
        threshold, spread = float(scores.quantile(1 - tolerated)), float(scores.std())
        own = _scores(detector, x)
        passed = (own <= threshold).cpu().numpy()
    attack = gradient_attack(module, x, y, epsilons=[epsilon], seed=seed)
    target = np.flatnonzero(attack.correct & passed)
    bare = torch.as_tensor(attack.adversarial).to(x)
    with still(module, seed):
        seen = (_scores(detector, bare) > threshold).cpu().numpy()
        joint = _Joint(logits, detector, threshold, max(spread, 1e-9), epsilon, seed)
        slipped = joint.run(x[target], y[target], bare[target])
    turned = attack.broken[0][target] | slipped
    slips = slipped | (attack.broken[0] & ~seen)[target]
    return Detection(
        detector.name, tolerated, float((own > threshold).float().mean()),
        unaware=_share(seen[target], attack.broken[0][target]), aware=_share(~slips, turned),
        rows=int(turned.sum()),
    )  # fmt: skip


def _share(caught: NDArray[np.bool_], of: NDArray[np.bool_]) -> float:
    return float(caught[of].mean()) if of.any() else float("nan")


def _scores(detector: Detector, x: Any) -> Any:
    with torch.no_grad():
        return torch.cat([detector.score(part) for part in x.split(512)])


@dataclass(frozen=True)
class _Joint:
    """The attack on network and detector at once."""

    logits: Any
    detector: Detector
    threshold: float
    spread: float
    epsilon: float
    seed: int

    def run(self, x: Any, y: Any, bare: Any) -> NDArray[np.bool_]:
        """Rows for which a point was found that is decided wrongly and let through."""
        noise = 2 * torch.rand(x.shape, generator=generator(self.seed)).to(x) - 1
        near = (x + self.epsilon * noise).clamp(0, 1)
        done = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        for weight in WEIGHTS:
            for start in (bare, near, x):
                rows = torch.nonzero(~done)[:, 0]
                if not len(rows):
                    break
                done[rows] = self._descend(x[rows], y[rows], start[rows], weight)
        return np.asarray(done.cpu().numpy(), dtype=bool)

    def _descend(self, x: Any, y: Any, start: Any, weight: float) -> Any:
        """Signed projected steps whose length falls; whether each row got through."""
        z, slope = start, torch.zeros_like(x)
        low, high = (x - self.epsilon).clamp(min=0), (x + self.epsilon).clamp(max=1)
        through = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        for k in range(STEPS):
            both, gradient = self._look(z, y, weight)
            through |= both
            if through.all():
                break
            size = gradient.flatten(1).abs().mean(dim=1).clamp(min=1e-12)
            slope = 0.75 * slope + gradient / shaped(size, gradient)
            step = 0.5 * self.epsilon * (1 - k / STEPS)
            z = torch.minimum(torch.maximum(z - step * slope.sign(), low), high)
        return through | self._look(z, y, weight)[0]

    def _look(self, z: Any, y: Any, weight: float) -> tuple[Any, Any]:
        with torch.enable_grad():
            z = z.detach().requires_grad_(True)
            margin = losses(self.logits(z), y, "margin")  # above 0: decided wrongly
            over = (self.detector.score(z) - self.threshold) / self.spread
            loss = (0.1 - margin).clamp(min=0) + weight * (over + 0.05).clamp(min=0)
            gradient = torch.autograd.grad(loss.sum(), z)[0]
        return (margin > 0) & (over <= 0), torch.nan_to_num(gradient)
