"""APGD: projected gradient steps of adaptive size, only on rows that still stand."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from crenel.errors import UsageError
from crenel.evasion.network import (
    Logits,
    as_labels,
    as_tensor,
    generator,
    logits_of,
    module_of,
    shaped,
    still,
    torch,
)

Loss = Literal["ce", "dlr", "margin", "targeted-dlr"]
#: Momentum and the share of rising steps below which the step is halved (Croce and Hein, 2020).
MOMENTUM, RHO = 0.75, 0.75


@dataclass(frozen=True)
class Ball:
    """The changes that are allowed: a norm ball cut by a box.

    Attributes
    ----------
    norm : float
        ``inf`` or 2.
    epsilon : float
        Radius, in units of the rows.
    low, high : float or tensor
        The box, broadcast against the rows.
    """

    norm: float
    epsilon: float
    low: Any = 0.0
    high: Any = 1.0

    def project(self, x0: Any, x: Any) -> Any:
        """The nearest allowed point, up to the order of the two cuts."""
        if self.norm == math.inf:
            x = torch.minimum(torch.maximum(x, x0 - self.epsilon), x0 + self.epsilon)
        else:
            delta = x - x0
            size = shaped(delta.flatten(1).norm(dim=1), delta)
            x = x0 + delta * (self.epsilon / size.clamp(min=1e-12)).clamp(max=1.0)
        return self.box(x)

    def box(self, x: Any) -> Any:
        """Cut by the box."""
        low = torch.as_tensor(self.low, dtype=x.dtype, device=x.device)
        high = torch.as_tensor(self.high, dtype=x.dtype, device=x.device)
        return torch.minimum(torch.maximum(x, low), high)

    def random(self, x0: Any, draw: Any) -> Any:
        """A random point at the rim of the ball, in the box."""
        noise = torch.randn(x0.shape, generator=draw).to(x0.device)
        if self.norm == math.inf:
            noise = torch.empty(x0.shape).uniform_(-1, 1, generator=draw).to(x0.device)
            size = noise.flatten(1).abs().amax(dim=1)
        else:
            size = noise.flatten(1).norm(dim=1)
        return self.project(x0, x0 + self.epsilon * noise / shaped(size, noise).clamp(min=1e-12))

    def direction(self, gradient: Any) -> Any:
        """Steepest ascent of length one in the norm; zero where the gradient is."""
        if self.norm == math.inf:
            return gradient.sign()
        return gradient / shaped(gradient.flatten(1).norm(dim=1), gradient).clamp(min=1e-12)


def losses(z: Any, y: Any, kind: Loss, target: Any = None) -> Any:
    """Loss of each row, the greater the nearer to a wrong decision.

    Parameters
    ----------
    z : tensor, shape (n, k)
        Logits.
    y, target : tensor of int64, shape (n,)
        Right classes, and for "targeted-dlr" the wrong ones aimed at.
    kind : {"ce", "dlr", "margin", "targeted-dlr"}
        Both DLR losses (Croce and Hein, 2020) need four logits; below that the margin is used,
        which is the same without its scale.
    """
    if kind == "ce":
        return torch.nn.functional.cross_entropy(z, y, reduction="none")
    right = z.gather(1, y[:, None])[:, 0]
    others = z.scatter(1, y[:, None], -math.inf)
    aimed = kind == "targeted-dlr"
    wrong = z.gather(1, target[:, None])[:, 0] if aimed else others.amax(dim=1)
    if kind == "margin" or z.shape[1] < 4:
        return wrong - right
    top = z.topk(4, dim=1).values
    spread = top[:, 0] - (top[:, 2] if kind == "dlr" else (top[:, 2] + top[:, 3]) / 2)
    return (wrong - right) / (spread + 1e-12)


@dataclass
class _State:
    """One entry for each standing row; indexed together when rows leave."""

    row: Any
    x0: Any
    y: Any
    target: Any
    x: Any
    before: Any
    gradient: Any
    loss: Any
    best: Any
    best_x: Any
    best_gradient: Any
    step: Any
    rises: Any
    checked: Any
    halved: Any

    def keep(self, mask: Any) -> _State:
        taken = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: None if v is None else v[mask] for k, v in taken.items()})


@dataclass
class Descent:
    """What one run of APGD reached.

    Attributes
    ----------
    x : tensor, shape (n, …)
        The first misclassified iterate, else the one of the greatest loss.
    broken : tensor of bool, shape (n,)
    start, best : tensor, shape (n,)
        Loss at the first and at the best iterate.
    passes : int
        Rows sent forward and backward.
    """

    x: Any
    broken: Any
    start: Any
    best: Any
    passes: int = field(default=0)


def descend(
    logits: Logits,
    x0: Any,
    y: Any,
    ball: Ball,
    *,
    loss: Loss,
    steps: int,
    start: Any,
    target: Any = None,
) -> Descent:
    """APGD (Croce and Hein, 2020) from ``start``; a row leaves at its first wrong decision.

    Parameters
    ----------
    logits : callable
    x0, start : tensor, shape (n, …)
        Original rows, and first iterates within the ball.
    y, target : tensor of int64, shape (n,)
    ball : Ball
    loss : {"ce", "dlr", "margin", "targeted-dlr"}
    steps : int
        Gradients for a row that never breaks, at least 1.
    """
    value, gradient, wrong = _gradient(logits, start, y, loss, target)
    out = Descent(start.clone(), wrong.clone(), value.clone(), value.clone(), passes=len(x0))
    n = len(x0)
    rows = torch.arange(n, device=x0.device)
    zeros = torch.zeros(n, dtype=torch.int64, device=x0.device)
    state = _State(
        rows, x0, y, target, start, start, gradient, value, value.clone(), start.clone(),
        gradient.clone(), torch.full((n,), 2.0 * ball.epsilon, device=x0.device), zeros,
        value.clone(), torch.zeros(n, dtype=torch.bool, device=x0.device),
    ).keep(~wrong)  # fmt: skip
    window, since = max(1, int(0.22 * steps)), 0
    for k in range(steps - 1):
        if not len(state.row):
            break
        state = _step(logits, state, ball, loss, first=k == 0, out=out)
        since += 1
        if since == window:
            _adapt(state, window)
            since, window = 0, max(window - max(1, int(0.03 * steps)), max(1, int(0.06 * steps)))
    out.x[state.row], out.best[state.row] = state.best_x, state.best
    return out


def _gradient(logits: Logits, x: Any, y: Any, loss: Loss, target: Any) -> tuple[Any, Any, Any]:
    """Loss, its gradient (zero where there is none) and whether the decision is wrong."""
    if not len(x):
        return torch.zeros(0, device=x.device), x, torch.zeros(0, dtype=torch.bool, device=x.device)
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        z = logits(x)
        value = losses(z, y, loss, target)
        gradient = torch.zeros_like(x)
        if value.requires_grad:
            found = torch.autograd.grad(value.sum(), x, allow_unused=True)[0]
            gradient = gradient if found is None else torch.nan_to_num(found)
    return value.detach(), gradient.detach(), z.detach().argmax(dim=1) != y


def _step(logits: Logits, s: _State, ball: Ball, loss: Loss, first: bool, out: Descent) -> _State:
    """One iterate of the standing rows; those that break are written out and leave."""
    momentum = s.x - s.before
    ahead = ball.project(s.x0, s.x + shaped(s.step, s.x) * ball.direction(s.gradient))
    a = 1.0 if first else MOMENTUM
    x = ball.project(s.x0, s.x + a * (ahead - s.x) + (1 - a) * momentum)
    value, gradient, wrong = _gradient(logits, x, s.y, loss, s.target)
    out.passes += len(x)
    s.rises = s.rises + (value > s.loss)
    s.before, s.x, s.loss, s.gradient = s.x, x, value, gradient
    better = value > s.best
    s.best = torch.where(better, value, s.best)
    s.best_x = torch.where(shaped(better, x), x, s.best_x)
    s.best_gradient = torch.where(shaped(better, x), gradient, s.best_gradient)
    if not wrong.any():
        return s
    gone = s.row[wrong]
    out.x[gone], out.broken[gone] = x[wrong], True
    out.best[gone] = torch.maximum(value, s.best)[wrong]
    return s.keep(~wrong)


def _adapt(s: _State, window: int) -> None:
    """Halve the step of rows that rose too rarely or stalled, and restart them from their best."""
    stalled = ~s.halved & (s.best <= s.checked)
    halve = (s.rises < RHO * window) | stalled
    s.step = torch.where(halve, s.step / 2, s.step)
    s.x = torch.where(shaped(halve, s.x), s.best_x, s.x)
    s.before = torch.where(shaped(halve, s.x), s.best_x, s.before)
    s.gradient = torch.where(shaped(halve, s.x), s.best_gradient, s.gradient)
    s.loss = torch.where(halve, s.best, s.loss)
    s.halved, s.checked = halve, s.best.clone()
    s.rises = torch.zeros_like(s.rises)


def apgd(
    model: Any,
    x: Any,
    y: Any,
    *,
    norm: float = math.inf,
    epsilon: float,
    bounds: tuple[Any, Any] = (0.0, 1.0),
    steps: int = 100,
    loss: Loss = "ce",
    seed: int = 0,
    batch_size: int = 256,
    target: Any = None,
) -> Any:
    """Auto-PGD, step size chosen by itself, from a random start (Croce and Hein, 2020).

    Each row is left alone at its first misclassified iterate, so that a breakable row costs two
    or three gradients and not ``steps``.

    Parameters
    ----------
    model : torch.nn.Module or crenel.model.Model
        Gives logits (n, k); one logit is read as (0, z). Attacked in evaluation mode.
    x : ndarray or tensor, shape (n, …), floating point
        Rows within ``bounds``.
    y : ndarray or tensor of int, shape (n,)
        Right classes.
    norm : float
        ``inf`` or 2.
    epsilon : float
        Radius in units of ``x``, at least 0.
    bounds : (low, high)
        Legal range: numbers, or arrays broadcast against the rows.
    steps : int
        Gradients for each row at most, at least 1.
    loss : {"ce", "dlr", "margin", "targeted-dlr"}
        "targeted-dlr" aims at ``target``, or at the likeliest wrong class where it is None;
        both DLR losses become the margin below four logits.
    seed : int
    batch_size : int
    target : ndarray or tensor of int, shape (n,), or None

    Returns
    -------
    ndarray or tensor like ``x``
        Rows within the ball and the bounds: misclassified where the attack succeeded.

    Raises
    ------
    crenel.errors.UsageError
        Where the model has no gradients or an argument is out of range.
    """
    check_arguments(norm, [epsilon], steps)
    module = module_of(model)
    rows, right = as_tensor(x, module), as_labels(y, module)
    low, high = (as_tensor(b, module) if hasattr(b, "shape") else b for b in bounds)
    ball, draw = Ball(norm, epsilon, low, high), generator(seed)
    aim = None if target is None else as_labels(target, module)
    parts = []
    with still(module, seed):
        logits = logits_of(module)
        for i in range(0, len(rows), batch_size):
            part, own = rows[i : i + batch_size], right[i : i + batch_size]
            goal = None if aim is None else aim[i : i + batch_size]
            if goal is None and loss == "targeted-dlr":
                goal = likeliest(logits, part, own, 1)[:, 0]
            begin = ball.random(part, draw)
            got = descend(logits, part, own, ball, loss=loss, steps=steps, start=begin, target=goal)
            parts.append(got.x)
    result = torch.cat(parts) if parts else rows
    return result if isinstance(x, torch.Tensor) else result.cpu().numpy()


def likeliest(logits: Logits, x: Any, y: Any, count: int) -> Any:
    """The likeliest wrong classes of each row, shape (n, min(count, k - 1))."""
    with torch.no_grad():
        z = logits(x).scatter(1, y[:, None], -math.inf)
    return z.topk(min(count, z.shape[1] - 1), dim=1).indices


def check_arguments(norm: float, epsilons: Any, steps: int = 1) -> None:
    """Raise `UsageError` where an attack's arguments are out of range."""
    if norm not in (2, math.inf):
        raise UsageError(f"norm must be inf or 2, not {norm}")
    if any(not (math.isfinite(e) and e >= 0) for e in epsilons) or not len(epsilons):
        raise UsageError(f"epsilons must be finite and not negative: {list(epsilons)}")
    if steps < 1:
        raise UsageError(f"steps must be at least 1, not {steps}")
