"""Detectors of changed inputs: one number for each row, the higher the more suspicious.

All are torch functions, so that an attacker who knows of them can follow their gradients too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crenel.evasion.gradients.network import Logits, logits_of, torch
from crenel.evasion.hardening.restoration import Restoration

#: Nearest neighbours looked at, and training rows kept for them.
NEIGHBOURS, KEPT = 5, 2000


@dataclass(frozen=True)
class Detector:
    """A detector fitted to a network and its training rows.

    Attributes
    ----------
    name : str
    score : callable
        From rows (n, …) in [0, 1] to (n,), differentiable.
    """

    name: str
    score: Callable[[Any], Any]


def detectors(module: Any, x: Any, y: Any) -> tuple[Detector, ...]:
    """Four detectors for a network.

    Parameters
    ----------
    module : torch.nn.Module
        Takes rows in [0, 1], in evaluation mode.
    x : tensor, shape (n, …); y : tensor of int64, shape (n,)
        Clean training rows.

    Returns
    -------
    tuple of Detector
        Feature squeezing (Xu, Evans and Qi, 2018): how far the decision moves when the input is
        squeezed. Mahalanobis (Lee et al., 2018): distance of the features from those of the
        nearest class. Nearest neighbours (after Papernot and McDaniel, 2018): distance of the
        features from training rows. Margin: how near the decision is to the next one.
    """
    logits, features = logits_of(module), features_of(module)
    return (
        Detector("feature squeezing", _squeezing(logits, x.shape[1:])),
        Detector("Mahalanobis distance", _mahalanobis(features, x, y)),
        Detector("nearest neighbours", _neighbours(features, x)),
        Detector("small margin", _margin(logits)),
    )


def features_of(module: Any) -> Callable[[Any], Any]:
    """What the last linear layer of a network is fed, flat; its logits where there is none."""
    linear = [m for m in module.modules() if isinstance(m, torch.nn.Linear)]
    logits = logits_of(module)
    if not linear:
        return logits

    def features(x: Any) -> Any:
        seen: list[Any] = []
        handle = linear[-1].register_forward_pre_hook(lambda m, given: seen.append(given[0]))
        try:
            logits(x)
        finally:
            handle.remove()
        return seen[-1].flatten(1)

    return features


def _squeezing(logits: Logits, shape: tuple[int, ...]) -> Callable[[Any], Any]:
    squeezers = [Restoration("bits", 3)]
    if len(shape) == 3 and min(shape[1:]) >= 3:
        squeezers.append(Restoration("median"))

    def score(x: Any) -> Any:
        p = torch.softmax(logits(x), dim=1)
        moved = [(p - torch.softmax(logits(s(x)), dim=1)).abs().sum(dim=1) for s in squeezers]
        return torch.stack(moved).amax(dim=0)

    return score


def _mahalanobis(features: Callable[[Any], Any], x: Any, y: Any) -> Callable[[Any], Any]:
    with torch.no_grad():
        f = torch.cat([features(part) for part in x.split(512)]).double()
        means = torch.stack([f[y == c].mean(dim=0) for c in torch.unique(y)])
        place = torch.searchsorted(torch.unique(y), y)
        spread = f - means[place]
        covariance = spread.T @ spread / len(f)
        ridge = 1e-3 * covariance.diagonal().mean().clamp(min=1e-12)
        inverse = torch.linalg.inv(covariance + ridge * torch.eye(f.shape[1]).to(f))

    def score(x: Any) -> Any:
        gap = features(x).double()[:, None, :] - means
        return torch.einsum("nkd,de,nke->nk", gap, inverse, gap).amin(dim=1).float()

    return score


def _neighbours(features: Callable[[Any], Any], x: Any) -> Callable[[Any], Any]:
    with torch.no_grad():
        known = torch.cat([features(part) for part in x[:KEPT].split(512)])
    count = min(NEIGHBOURS, len(known))

    def score(x: Any) -> Any:
        return torch.cdist(features(x), known).topk(count, largest=False).values.mean(dim=1)

    return score


def _margin(logits: Logits) -> Callable[[Any], Any]:
    def score(x: Any) -> Any:
        top = logits(x).topk(2, dim=1).values
        return top[:, 1] - top[:, 0]

    return score
