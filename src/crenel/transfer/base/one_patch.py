"""One patch for every image and every head, made on a public base alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from crenel.errors import NotApplicable
from crenel.evasion.gradients.network import generator, still, torch
from crenel.transfer.base.surrogate import network_of

#: What a patch may strive for: see `fit_patch`.
Aim = Literal["heads", "distance", "direction"]
AIMS: tuple[Aim, ...] = ("heads", "distance", "direction")
#: Random heads that a patch is fit on and judged by, and the classes of each.
HEADS, CLASSES = 16, 10
#: Gradients for each image of a batch, first and last step, capped gain, images of a batch.
STEPS, FIRST, LAST, ENOUGH, BATCH = 40, 0.15, 0.01, 2.0, 64


@dataclass(frozen=True)
class Spot:
    """Where in an image a patch lies: the corner next to the origin, and its side."""

    top: int
    left: int
    side: int

    def put(self, x: Any, patch: Any) -> Any:
        """Images (n, c, h, w) with the patch (c, s, s)."""
        shown = x.clone()
        rows = slice(self.top, self.top + self.side)
        shown[:, :, rows, self.left : self.left + self.side] = patch
        return shown


@dataclass(frozen=True)
class OnePatch:
    """A patch and what it is expected to do.

    Attributes
    ----------
    values : tensor, shape (c, s, s)
    spot : Spot
    aim : str
    expected : float
        Share of decisions that it changes of linear heads drawn at random, other ones than it was
        fit on, on images that it was not fit on.
    """

    values: Any
    spot: Spot
    aim: str
    expected: float


def spot_of(height: int, width: int, side: int, seed: int) -> Spot:
    """A place drawn at random."""
    at = torch.rand(2, generator=generator(seed)).tolist()
    top, left = (int(a * (n - side + 1)) for a, n in zip(at, (height, width)))
    return Spot(top, left, side)


@dataclass(frozen=True)
class Whitened:
    """Features of a base, brought to mean zero and variance one in every direction.

    Attributes
    ----------
    features : callable
        From images to features (n, d).
    mean : tensor, shape (d,)
    axes : tensor, shape (d, r)
        Principal axes of clean images over their standard deviations, largest first.
    """

    features: Callable[[Any], Any]
    mean: Any
    axes: Any

    @classmethod
    def of(cls, features: Callable[[Any], Any], x: Any) -> Whitened:
        """Measure the features of clean images; axes below a thousandth of the first are left."""
        with torch.no_grad():
            seen = torch.cat([features(part) for part in x.split(256)])
        mean = seen.mean(dim=0)
        _, sizes, axes = torch.linalg.svd(seen - mean, full_matrices=False)
        spread = sizes / math.sqrt(max(1, len(seen) - 1))
        kept = spread > 1e-3 * spread[0].clamp(min=1e-12)
        return cls(features, mean, (axes[kept] / spread[kept][:, None]).T)

    def __call__(self, x: Any) -> Any:
        """Whitened features (n, r)."""
        return (self.features(x) - self.mean) @ self.axes


def random_heads(width: int, seed: int) -> Any:
    """Linear heads over whitened features, shape (heads, r, classes): none is like a trained one.

    Whitening makes every direction of the features count as much as any other.
    """
    return torch.randn((HEADS, width, CLASSES), generator=generator(seed))


def changed_by(seen: Whitened, heads: Any, x: Any, shown: Any) -> float:
    """Share of the decisions of some heads that differ between images and changed images."""
    with torch.no_grad():
        before, after = (
            torch.einsum("nr,hrk->hnk", seen(rows), heads).argmax(dim=2) for rows in (x, shown)
        )
    return float((before != after).float().mean())


def made_on(module: Any, x: Any, side: int, *, seed: int, count: int) -> Iterator[OnePatch]:
    """Patches, each at a place of its own and by the next aim; the tuned model is not asked.

    Parameters
    ----------
    module : torch.nn.Module
        The public base, over images (n, c, h, w) in [0, 1].
    x : tensor, shape (n, c, h, w)
        Public images; every fourth one is kept to judge patches by.
    side : int
        Of the square, in pixels.
    seed : int
    count : int

    Raises
    ------
    NotApplicable
        Where the base makes the same of all images.
    """
    height, width = x.shape[2:]
    with still(module, seed):
        seen = Whitened.of(network_of(module, x[:1]).features, x)
    if not seen.axes.shape[1]:
        raise NotApplicable("the base's features are the same for all public images")
    kept = torch.arange(len(x)) % 4 == 0
    judges = random_heads(seen.axes.shape[1], seed + 1)
    for i in range(count):
        aim, own = AIMS[i % len(AIMS)], seed + 10 * (i + 1)
        spot = spot_of(height, width, side, own)
        with still(module, own):
            values = fit_patch(seen, x[~kept], spot, aim, seed=own)
            shown = spot.put(x[kept], values)
            yield OnePatch(values, spot, aim, changed_by(seen, judges, x[kept], shown))


def fit_patch(
    seen: Whitened, x: Any, spot: Spot, aim: Aim, *, seed: int, steps: int = STEPS
) -> Any:
    """A patch for all images, by ascent on the base's features alone.

    Parameters
    ----------
    aim : {"heads", "distance", "direction"}
        Turn the decisions of linear heads drawn at random; move the features far; or push all
        images alike along the principal axis on which they differ most.

    Returns
    -------
    tensor, shape (c, s, s)

    Notes
    -----
    Brown et al., "Adversarial patch", 2017, without the model's own head; Rezaei and Liu, "A
    target-agnostic attack on deep models", 2020, for the saturation of single features.
    """
    gain = _gain(seen, aim, seed)
    draw = generator(seed)
    values = torch.rand((x.shape[1], spot.side, spot.side), generator=draw).to(x)
    speed = torch.zeros_like(values)
    for k in range(steps):
        part = x[torch.randperm(len(x), generator=draw)[:BATCH]]
        values = values.detach().requires_grad_(True)
        with torch.enable_grad():
            value = gain(part, spot.put(part, values))
            (slope,) = torch.autograd.grad(value, values)
        slope = torch.nan_to_num(slope)
        speed = 0.75 * speed + slope / slope.abs().mean().clamp(min=1e-12)
        rate = LAST + (FIRST - LAST) * (1 + math.cos(math.pi * k / steps)) / 2
        values = (values.detach() + rate * speed.sign()).clamp(0, 1)
    return values.detach()


def _gain(seen: Whitened, aim: Aim, seed: int) -> Callable[[Any, Any], Any]:
    """What is to grow, of images and of the same with the patch."""
    if aim == "distance":
        return lambda x, shown: (seen(shown) - seen(x).detach()).square().sum(dim=1).mean()
    if aim == "direction":
        sign = 1.0 if seed % 2 == 0 else -1.0
        return lambda x, shown: sign * seen(shown)[:, 0].mean()
    heads = random_heads(seen.axes.shape[1], seed)

    def turned(x: Any, shown: Any) -> Any:
        with torch.no_grad():
            own = torch.einsum("nr,hrk->hnk", seen(x), heads)
        z = torch.einsum("nr,hrk->hnk", seen(shown), heads)
        decided = own.argmax(dim=2, keepdim=True)
        others = z.scatter(2, decided, -math.inf).amax(dim=2)
        margin = (others - z.gather(2, decided)[..., 0]) / own.std().clamp(min=1e-12)
        return margin.clamp(max=ENOUGH).mean()

    return turned
