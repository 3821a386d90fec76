"""Diagnosis in a few passes: does this network show its gradients?

The tests follow Carlini et al., "On evaluating adversarial robustness" (2019), and Pintor et
al., "Indicators of attack failure" (2022).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from crenel.evasion.gradients.descent import losses
from crenel.evasion.gradients.mending import (
    averaged,
    estimated,
    frozen,
    passed,
    same_decisions,
    smoothed,
    straightened,
    valued,
)
from crenel.evasion.gradients.network import Logits, generator, torch
from crenel.evasion.gradients.tracing import beheaded, entered, trace

#: Share of rows without gradient, and correlation with finite differences, that are still sound.
MOST_ZERO, LEAST_AGREEMENT = 0.1, 0.5
#: Passes over which a random model is averaged.
DRAWS = 8
#: Passes that must agree for a model not to be random: one of two places is missed once in 16.
PASSES = 5
#: Directions of an estimated gradient, and intermediate tensors tried as logits.
DIRECTIONS, HEADS = 24, 6
#: Gain of a mend from which its gradients are those of steps, which agree only roughly.
LEAST_GAIN = 0.1
#: Steps of finite differences, as shares of the range.
STRIDES = (0.02, 0.08)
#: Deviations of the noise that smooths a model, as shares of the range.
SMOOTHING = (0.02, 0.06)


@dataclass(frozen=True)
class Diagnosis:
    """What a few passes show.

    Attributes
    ----------
    zero_ce, zero_margin : float
        Share of rows whose gradient of the loss is zero everywhere.
    agreement : float
        Correlation of finite differences with the gradient of the margin, over random directions.
    deterministic : bool
        Whether five passes give the same logits.
    probabilities : bool
        Whether the outputs are probabilities already.
    rowwise : bool
        Whether a row's answer is the same alone and beside others; True where answers are random.
    """

    zero_ce: float
    zero_margin: float
    agreement: float
    deterministic: bool
    probabilities: bool
    rowwise: bool = True

    @property
    def sound(self) -> bool:
        """Whether gradients of the margin can be trusted."""
        return self.zero_margin <= MOST_ZERO and self.agreement >= LEAST_AGREEMENT


def diagnose(logits: Logits, x: Any, y: Any, span: Any, seed: int) -> Diagnosis:
    """Look at a model's gradients on a few rows.

    Parameters
    ----------
    logits : callable
    x : tensor, shape (n, …)
    y : tensor of int64, shape (n,)
    span : float or tensor
        Width of the legal range, by which finite differences are scaled.
    seed : int
    """
    with torch.no_grad():
        first, *others = (logits(x) for _ in range(PASSES))
    deterministic = all(torch.allclose(first, z, rtol=1e-4, atol=1e-5) for z in others)
    total = first.sum(dim=1)
    probable = bool((first >= 0).all() and (total - 1).abs().max() < 1e-3)
    zero_ce = _zeros(_slope(logits, x, y, "ce"))
    gradient = _slope(logits, x, y, "margin")
    return Diagnosis(
        zero_ce=zero_ce,
        zero_margin=_zeros(gradient),
        agreement=_agreement(logits, x, y, gradient, span, seed),
        deterministic=deterministic,
        probabilities=probable,
        rowwise=not deterministic or _rowwise(logits, x, first),
    )


def _rowwise(logits: Logits, x: Any, together: Any) -> bool:
    """Whether the first rows are answered as they were together with all."""
    few = max(1, len(x) // 4)
    with torch.no_grad():
        apart = logits(x[:few])
    scale = together.abs().amax().clamp(min=1e-12)
    return bool(((apart - together[:few]).abs().amax() / scale) < 1e-3)


def _slope(logits: Logits, x: Any, y: Any, kind: Any) -> Any:
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        value = losses(logits(x), y, kind)
        if not value.requires_grad:
            return torch.zeros_like(x)
        found = torch.autograd.grad(value.sum(), x, allow_unused=True)[0]
    return torch.zeros_like(x) if found is None else found.detach()


def _zeros(gradient: Any) -> float:
    flat = gradient.flatten(1)
    return float((~(flat.abs().amax(dim=1) > 0)).float().mean())


def _agreement(logits: Logits, x: Any, y: Any, gradient: Any, span: Any, seed: int) -> float:
    """Correlation of central differences with the gradient, over four random directions a row.

    The better of two strides: the smaller misses stairs, the larger meets other slopes.
    """
    best = 0.0
    for stride in STRIDES:
        draw = generator(seed)
        measured, foretold = [], []
        for _ in range(4):
            v = torch.randn(x.shape, generator=draw).to(x.device).sign() * span
            with torch.no_grad():
                up = losses(logits(x + stride * v), y, "margin")
                down = losses(logits(x - stride * v), y, "margin")
            measured.append(up - down)
            foretold.append((gradient * v).flatten(1).sum(dim=1))
        best = max(best, _correlation(torch.cat(measured), torch.cat(foretold)))
    return best


def _correlation(a: Any, b: Any) -> float:
    a, b = a.double() - a.double().mean(), b.double() - b.double().mean()
    scale = float(a.norm() * b.norm())
    return float((a * b).sum()) / scale if scale > 0 else 0.0


@dataclass(frozen=True)
class Surface:
    """A model as it is attacked: its own gradients, or mended ones.

    Attributes
    ----------
    logits : callable
        To take gradients of.
    diagnosis : Diagnosis
        Of the model as it is.
    after : Diagnosis
        Of ``logits``; the same where nothing was mended.
    mends : tuple of str
        What was done, in words.
    stepped : bool
        Whether gradients pass through steps: then they are those of the stairs' slope, and
        differences over a few stairs agree with them only roughly.
    """

    logits: Logits
    diagnosis: Diagnosis
    after: Diagnosis
    mends: tuple[str, ...] = ()
    stepped: bool = False

    @property
    def agrees(self) -> bool:
        """Whether finite differences agree with the gradients, as far as they can."""
        least = LEAST_AGREEMENT / 4 if self.stepped else LEAST_AGREEMENT
        return self.after.agreement >= least

    @property
    def trusted(self) -> bool:
        """Whether an attack may go by these gradients alone."""
        return self.after.zero_margin <= MOST_ZERO and self.agrees and not self.after.probabilities


@dataclass(frozen=True)
class _Sample:
    """The rows that a diagnosis goes by."""

    x: Any
    y: Any
    span: Any
    seed: int

    def diagnose(self, logits: Logits) -> Diagnosis:
        return diagnose(logits, self.x, self.y, self.span, self.seed)

    def mended(self, s: Surface, logits: Logits, what: str) -> Surface:
        """A surface with other logits, where it can be run on these rows; else the same."""
        try:
            after = self.diagnose(logits)
        except (RuntimeError, IndexError, TypeError, ValueError):
            return s  # what stands in for a function is not fit for all that can follow it
        return replace(s, logits=logits, after=after, mends=(*s.mends, what))


def mend(logits: Logits, x: Any, y: Any, span: Any, seed: int) -> Surface:
    """Diagnose a model and give back the gradients that it hides, where that is cheap.

    What stands behind the network is left out first (a softmax, a switch, dead units), then
    randomness and the batch's own statistics are averaged or frozen; and where gradients are
    still zero or false they are passed through steps, around cuts, straight to what the network
    itself is given, over a neighbourhood of each row, or estimated from answers alone.

    Every mend must leave decisions as they are, or else only serves to find witnesses that the
    model itself has to confirm.
    """
    sample = _Sample(x, y, span, seed)
    before = sample.diagnose(logits)
    surface = Surface(logits, before, before)
    if not before.rowwise:
        alone = frozen(logits, x)
        surface = sample.mended(surface, alone, "statistics of the batch held")
    surface = _before_the_last_steps(surface, sample)
    if not before.deterministic:
        mean = averaged(surface.logits, DRAWS)
        surface = sample.mended(surface, mean, f"averaged over {DRAWS} random passes")
    return surface if surface.trusted else _best_way(surface, sample)


def _before_the_last_steps(surface: Surface, sample: _Sample) -> Surface:
    """Read the logits before what hides them, where the answers are not sound logits."""
    a = surface.after
    sound = a.sound or not a.deterministic
    if sound and not a.probabilities and a.zero_ce <= MOST_ZERO:
        return surface
    best = surface
    for head in trace(surface.logits, sample.x).heads[:HEADS]:
        logits = beheaded(surface.logits, head)
        found = sample.mended(surface, logits, "logits read before the last steps")
        if found.trusted and found.after.zero_ce <= MOST_ZERO:
            return found
        best = max(best, found, key=_merit)
    if best.after.probabilities:
        best = sample.mended(best, _logarithm(best.logits), "logarithms of its probabilities")
    return best


def _logarithm(logits: Logits) -> Logits:
    def log(x: Any) -> Any:
        return logits(x).clamp(min=1e-30).log()

    return log


def _merit(s: Surface) -> float:
    """The greater the better gradients are."""
    return s.after.agreement - s.after.zero_margin - s.after.probabilities


def _best_way(surface: Surface, sample: _Sample) -> Surface:
    """The first mend whose gradients can be trusted, else the best; the dearest come last."""
    best = surface
    for what, stepped, logits in _ways(surface, sample):
        if stepped and not _alike(surface, logits, sample.x):
            continue
        found = sample.mended(surface, logits, what)
        found = replace(found, stepped=stepped and _gain(surface, found) > LEAST_GAIN)
        if found.trusted:
            return found
        best = max(best, found, key=_merit)
    return best


def _gain(before: Surface, after: Surface) -> float:
    """How much more of the gradients a mend gave back."""
    a, b = before.after, after.after
    return max(a.zero_margin - b.zero_margin, b.agreement - a.agreement)


def _alike(surface: Surface, logits: Logits, x: Any) -> bool:
    return not surface.diagnosis.deterministic or same_decisions(surface.logits, logits, x)


def _ways(surface: Surface, sample: _Sample) -> Iterator[tuple[str, bool, Logits]]:
    """Mends of gradients, in words, whether they pass steps, and their logits."""
    own, seed = surface.logits, sample.seed
    yield "gradients passed through steps", True, straightened(own)
    yield "gradients passed around cuts and flat parts", True, passed(own)
    seen = trace(own, sample.x)
    if seen.entry is not None:
        straight = entered(own, seen)
        yield "gradients taken behind the preprocessing", True, straight
        yield "gradients taken behind the preprocessing, past cuts", True, passed(straight)
    for share in SMOOTHING:
        wide = valued(own, smoothed(own, share * sample.span, DRAWS, seed))
        yield f"smoothed over {share:.0%} of the range", False, wide
    guess = estimated(own, 0.05 * sample.span, DIRECTIONS, seed)
    yield "slopes estimated from answers", False, guess
