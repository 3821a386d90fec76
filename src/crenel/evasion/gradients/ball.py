"""The changes that are allowed: norm balls of four kinds, cut by a box."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from crenel.errors import UsageError
from crenel.evasion.gradients.draws import normal, row_keys, uniform
from crenel.evasion.gradients.network import shaped, torch

#: The norms in which changes are measured.
NORMS = (0, 1, 2, math.inf)


def sizes(delta: Any, norm: float) -> Any:
    """Size of each row of changes, shape (n,), in the dtype of the changes.

    Parameters
    ----------
    delta : tensor, shape (n, …)
    norm : {0, 1, 2, inf}
        0 counts the numbers that are not zero.
    """
    flat = delta.flatten(1)
    if norm == 0:
        return (flat != 0).sum(dim=1).to(delta.dtype)
    if norm == math.inf:
        return flat.abs().amax(dim=1)
    return flat.abs().sum(dim=1) if norm == 1 else flat.norm(dim=1)


def dual_sizes(gradient: Any, norm: float) -> Any:
    """Size of gradients in the dual norm, shape (n,): the rise that a step of length one buys."""
    flat = gradient.flatten(1)
    if norm == math.inf:
        return flat.abs().sum(dim=1)
    return flat.norm(dim=1) if norm == 2 else flat.abs().amax(dim=1)


@dataclass(frozen=True)
class Ball:
    """The changes that are allowed: a norm ball cut by a box.

    Attributes
    ----------
    norm : float
        0, 1, 2 or ``inf``.
    epsilon : float or tensor, shape (n,)
        Radius, in units of the rows (in L0 the count of changed numbers); one for each row
        where the norm attacks that look for the smallest change need it.
    low, high : float or tensor
        The box, broadcast against the rows.
    """

    norm: float
    epsilon: Any
    low: Any = 0.0
    high: Any = 1.0

    def limits(self, x0: Any) -> tuple[Any, Any]:
        """Least and greatest value of each number: the box, and in L-inf the ball as well.

        No sum is rounded outwards: x within the limits is within epsilon of ``x0`` exactly.
        """
        low, high = (torch.as_tensor(b, dtype=x0.dtype, device=x0.device).expand_as(x0)
                     for b in (self.low, self.high))  # fmt: skip
        if self.norm != math.inf:
            return low, high
        size = shaped(torch.as_tensor(self.epsilon, dtype=torch.float64, device=x0.device), x0)
        exact = x0.double()
        down, up = (exact - size).to(x0.dtype), (exact + size).to(x0.dtype)
        down = torch.where(exact - down.double() > size, down.nextafter(x0), down)
        up = torch.where(up.double() - exact > size, up.nextafter(x0), up)
        return torch.maximum(low, down), torch.minimum(high, up)

    def project(self, x0: Any, x: Any, limits: tuple[Any, Any] | None = None) -> Any:
        """An allowed point near ``x``: the nearest in L-inf, L1 and L0; in L2 one near it.

        Parameters
        ----------
        x0, x : tensor, shape (n, …)
        limits : pair of tensors, optional
            From `limits`, where they are known already.
        """
        low, high = self.limits(x0) if limits is None else limits
        if self.norm == math.inf:
            return torch.clamp(x, low, high)
        delta = x - x0
        if self.norm == 2:
            scale = (self.epsilon / sizes(delta, 2).clamp(min=1e-12)).clamp(max=1.0)
            return torch.clamp(x0 + delta * shaped(scale, x), low, high)
        nearest = onto_l1 if self.norm == 1 else onto_l0
        return torch.clamp(x0 + nearest(delta, low - x0, high - x0, self.epsilon), low, high)

    def box(self, x: Any) -> Any:
        """Cut by the box alone."""
        low, high = (torch.as_tensor(b, dtype=x.dtype, device=x.device)
                     for b in (self.low, self.high))  # fmt: skip
        return torch.minimum(torch.maximum(x, low), high)

    def random(self, x0: Any, seed: int, shard: int = 0) -> Any:
        """A random point at the rim of the ball, in the box; a row's own, in whatever batch."""
        if not len(x0):
            return x0
        keys, count = row_keys(x0, seed), x0[0].numel()
        if self.norm == math.inf:
            noise = 2 * uniform(keys, count, shard) - 1
        else:
            noise = normal(keys, count, shard)
        noise = noise.reshape(x0.shape).to(x0.dtype)
        if self.norm == 0:
            span = self.box(torch.full_like(x0, math.inf)) - self.box(
                torch.full_like(x0, -math.inf)
            )
            return self.project(x0, x0 + noise * span)
        unit = shaped(self.epsilon / sizes(noise, self.norm).clamp(min=1e-12), noise)
        return self.project(x0, x0 + noise * unit)

    def stripes(self, x0: Any, seed: int, shard: int = 0) -> Any:
        """A point at the rim of the ball: images in vertical stripes, other rows in any corner.

        Stripes move what a filter sees all one way, so that a descent from them ends in other
        places than one from noise (Andriushchenko et al., 2020).
        """
        if not len(x0):
            return x0
        keys, shape = row_keys(x0, seed), x0.shape
        if x0.ndim == 4:
            u = uniform(keys, shape[1] * shape[3], shard).reshape(shape[0], shape[1], 1, shape[3])
        else:
            u = uniform(keys, x0[0].numel(), shard).reshape(shape)
        signs = torch.where(u < 0.5, -1.0, 1.0).to(x0.dtype).expand(shape)
        return self.rim(x0, signs)

    def rim(self, x0: Any, change: Any, limits: tuple[Any, Any] | None = None) -> Any:
        """A change scaled to the size of the ball, and cut by the box."""
        if self.norm == 0:
            low, high = self.limits(x0) if limits is None else limits
            return self.project(x0, torch.where(change > 0, high, low), (low, high))
        if self.norm == math.inf:
            return self.project(x0, x0 + self.epsilon * change, limits)
        unit = self.epsilon / sizes(change, self.norm).clamp(min=1e-12)
        return self.project(x0, x0 + change * shaped(unit, x0), limits)

    def direction(self, gradient: Any, room: Any = None, density: Any = None) -> Any:
        """Steepest ascent of length about one in the norm; zero where the gradient is.

        Parameters
        ----------
        gradient : tensor, shape (n, …)
        room : tensor of bool, shape (n, …), optional
            Numbers that the box lets move along the gradient.
        density : tensor, shape (n,), optional
            Share of the numbers that a step in L1 changes (Croce and Hein, 2021).
        """
        if self.norm == math.inf:
            return gradient.sign()
        if self.norm == 2:
            return gradient / shaped(gradient.flatten(1).norm(dim=1), gradient).clamp(min=1e-12)
        if room is not None:
            gradient = gradient * room
        if self.norm == 1:
            return _sparse(gradient, density)
        return gradient / shaped(sizes(gradient, math.inf), gradient).clamp(min=1e-30)


def _sparse(gradient: Any, density: Any) -> Any:
    """Equal steps along the largest entries, of L1 length one in all."""
    flat = gradient.flatten(1)
    d = flat.shape[1]
    count = (density * d).round().clamp(1, d).to(torch.int64)
    most = int(count.max()) if len(count) else 1
    top = flat.abs().topk(most, dim=1).values
    least = top.gather(1, count[:, None] - 1)
    sign = flat.sign() * (flat.abs() >= least)
    return (sign / sign.abs().sum(dim=1, keepdim=True).clamp(min=1)).reshape(gradient.shape)


def onto_l1(delta: Any, low: Any, high: Any, epsilon: Any, rounds: int = 60) -> Any:
    """Nearest change of L1 size at most epsilon within bounds around zero.

    The answer is ``delta`` soft-thresholded by one number for each row and cut by the bounds; its
    size falls piecewise linearly with that number, which Newton steps within a bracket find.

    Parameters
    ----------
    delta, low, high : tensor, shape (n, …)
        ``low <= 0 <= high``.
    epsilon : float or tensor, shape (n,)
    rounds : int
        At most; about six are usual.
    """
    shape, epsilon = delta.shape, torch.as_tensor(epsilon, dtype=delta.dtype, device=delta.device)
    delta, low, high = (t.flatten(1) for t in (delta, low, high))
    size = delta.abs()
    cap = torch.where(delta > 0, high, -low)
    lowest = torch.zeros(len(delta), dtype=delta.dtype, device=delta.device)
    highest, cut = size.amax(dim=1), lowest.clone()
    for _ in range(rounds):
        left = size - cut[:, None]
        kept = torch.minimum(left.clamp(min=0), cap)
        excess = kept.sum(dim=1) - epsilon
        if bool(
            (excess <= 1e-6 * epsilon).all() and ((excess >= -1e-6 * epsilon) | (cut == 0)).all()
        ):
            break
        lowest = torch.where(excess > 0, cut, lowest)
        highest = torch.where(excess <= 0, cut, highest)
        moving = ((left > 0) & (left < cap)).sum(dim=1)
        newton = cut + excess / moving.clamp(min=1)
        inside = (moving > 0) & (newton > lowest) & (newton < highest)
        settled = (excess <= 1e-6 * epsilon) & ((excess >= -1e-6 * epsilon) | (cut == 0))
        step = torch.where(inside, newton, (lowest + highest) / 2)
        cut = torch.where(settled, cut, step)
    kept = torch.minimum((size - cut[:, None]).clamp(min=0), cap)
    return (delta.sign() * kept).reshape(shape)


def onto_l0(delta: Any, low: Any, high: Any, epsilon: Any) -> Any:
    """Nearest change of at most epsilon numbers within bounds around zero."""
    shape = delta.shape
    wanted = delta.flatten(1)
    legal = torch.clamp(delta, low, high).flatten(1)
    gain = wanted**2 - (wanted - legal) ** 2
    count = torch.as_tensor(epsilon, device=delta.device).floor().to(torch.int64)
    count = count.expand(len(delta)).clamp(0, wanted.shape[1])
    rank = gain.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return torch.where(rank < count[:, None], legal, torch.zeros_like(legal)).reshape(shape)


def check_norm(norm: float) -> None:
    """Raise `UsageError` where a norm is none of `NORMS`."""
    if norm not in NORMS:
        raise UsageError(f"norm must be 0, 1, 2 or inf, not {norm}")
