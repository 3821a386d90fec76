"""APGD: projected gradient steps of adaptive size, only on rows that still stand."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from crenel.errors import UsageError
from crenel.evasion.gradients import kernels
from crenel.evasion.gradients.ball import Ball as Ball
from crenel.evasion.gradients.ball import check_norm, sizes
from crenel.evasion.gradients.network import (
    Logits,
    as_labels,
    as_tensor,
    logits_of,
    module_of,
    shaped,
    still,
    torch,
)
from crenel.evasion.gradients.slopes import judged
from crenel.evasion.gradients.sweeps import climbed, weighed

Loss = Literal[
    "ce", "dlr", "margin", "targeted-ce", "targeted-cw", "targeted-dlr", "targeted-margin"
]  # fmt: skip
#: Momentum and the share of rising steps below which the step is halved (Croce and Hein, 2020).
MOMENTUM, RHO = 0.75, 0.75
#: APGD-L1 (Croce and Hein, 2021): share of numbers moved at first, by what it and the step shrink,
#: and the smallest step as a share of the first.
DENSITY, THINNING, SMALLEST = 0.2, 1.5, 0.1
#: Share of rows in work that may be broken already before the others are moved together.
IDLE = 0.06
#: Share of rows beyond which, once they have broken, only the others are sent backward: they must
#: be sent forward again for it, and a backward pass takes as long as a forward one or longer.
MOSTLY = 0.5


def losses(z: Any, y: Any, kind: Loss, target: Any = None) -> Any:
    """Loss of each row, the greater the nearer to a wrong decision.

    Parameters
    ----------
    z : tensor, shape (n, k)
        Logits.
    y, target : tensor of int64, shape (n,)
        Right classes, and for the targeted losses the wrong ones aimed at.
    kind : {"ce", "dlr", "margin", "targeted-ce", "targeted-cw", "targeted-dlr", "targeted-margin"}
        Both DLR losses (Croce and Hein, 2020) need four logits; below that the margin is used,
        which is the same without its scale. "targeted-margin" holds the target against the right
        class, "targeted-cw" against the largest of all others (Carlini and Wagner, 2017), which
        is positive just where the target is decided for.
    """
    if kind == "ce":
        return torch.nn.functional.cross_entropy(z, y, reduction="none")
    if kind == "targeted-ce":
        return -losses(z, target, "ce")
    if kind == "targeted-cw":
        return -losses(z, target, "margin")
    right = z.gather(1, y[:, None])[:, 0]
    if kind in ("targeted-dlr", "targeted-margin"):
        wrong = z.gather(1, target[:, None])[:, 0]
    else:
        wrong = z.scatter(1, y[:, None], -math.inf).amax(dim=1)
    if kind in ("margin", "targeted-margin") or z.shape[1] < 4:
        return wrong - right
    top = z.topk(4, dim=1).values
    spread = top[:, 0] - (top[:, 2] if kind == "dlr" else (top[:, 2] + top[:, 3]) / 2)
    return (wrong - right) / (spread + 1e-12)


@dataclass
class State:
    """One entry for each row of a descent in work; indexed together when rows leave."""

    row: Any
    x0: Any
    low: Any
    high: Any
    y: Any
    target: Any
    goal: Any
    x: Any
    before: Any
    gradient: Any
    loss: Any
    best: Any
    at_best: Any  # whether ``x`` is the best iterate; where not, the next two hold it
    best_x: Any
    best_gradient: Any
    step: Any
    rises: Any
    checked: Any
    halved: Any
    density: Any
    gone: Any
    still: Any  # whether ``x`` came of no step, so that it has no momentum
    sweep: Any = None  # arrays of the tensors above, which is None where these are others

    def keep(self, mask: Any) -> State:
        """The rows of a mask."""
        if bool(mask.all()):
            return self
        taken = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "sweep"}
        taken = {k: None if v is None else v[mask] for k, v in taken.items()}
        return replace(self, **taken, sweep=None)

    def best_point(self) -> Any:
        """The best iterate of each row."""
        return torch.where(shaped(self.at_best, self.x), self.x, self.best_x)


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
    gradients, queries : int
        Rows sent forward and backward, and rows sent forward alone.
    """

    x: Any
    broken: Any
    start: Any
    best: Any
    gradients: int = field(default=0)
    queries: int = field(default=0)

    def count(self, rows: int, back: int) -> None:
        """Add an iterate of so many rows, of which the last number were sent backward."""
        self.gradients += back
        self.queries += rows if back < rows else 0


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
    goal: Any = None,
) -> Descent:
    """APGD (Croce and Hein, 2020; in L1, 2021) from ``start``; a row leaves when it breaks.

    Parameters
    ----------
    logits : callable
    x0, start : tensor, shape (n, …)
        Original rows, and first iterates within the ball.
    y, target : tensor of int64, shape (n,)
        Right classes, and those that a targeted loss aims at.
    ball : Ball
    loss : str
        See `losses`.
    steps : int
        Gradients for a row that never breaks, at least 1; the point after the last is looked at
        as well.
    goal : tensor of int64, shape (n,), optional
        The only decisions that count; by default every wrong one does.
    """
    x0, start = x0.contiguous(), start.contiguous()
    if not len(x0):
        none = x0.new_zeros(0)
        return Descent(start, none.to(torch.bool), none, none)
    x, z = _forward(logits, start, back=True)
    value, slope, wrong = judged(z.detach(), y, loss, target, goal)
    value = value.to(x0.dtype)
    gradient, back = _backward(logits, x, z, slope, wrong, int(wrong.sum()), True)
    out = Descent(start.clone(), wrong.clone(), value.clone(), value.clone())
    out.count(len(x0), back)
    state = _begin(x0, y, target, goal, ball, start.clone(), value, gradient, wrong)
    window, since = _first_window(ball, steps), 0
    for k in range(steps):
        if not len(state.row):
            break
        state = _step(logits, state, ball, loss, k, k == steps - 1, out)
        since += 1
        if since == window:
            if ball.norm == 1:
                _thin(state, ball)
            else:
                _adapt(state, window)
                window = max(window - max(1, int(0.03 * steps)), max(1, int(0.06 * steps)))
            since, state.sweep = 0, None
    left = ~state.gone
    out.x[state.row[left]], out.best[state.row[left]] = state.best_point()[left], state.best[left]
    return out


def narrow(
    logits: Logits, x0: Any, y: Any, ball: Ball, *, loss: Loss, steps: int, start: Any,
    target: Any = None, goal: Any = None,
) -> Descent:  # fmt: skip
    """`descend` after as much in balls of three and two times the radius (Croce and Hein, 2021).

    In L1, where steps are sparse, the wider balls show which numbers are worth changing.
    """
    nothing, spent, queries = torch.full_like(y, -1), 0, 0
    for factor in (3, 2):
        wide = replace(ball, epsilon=ball.epsilon * factor)
        part = descend(
            logits, x0, y, wide, loss=loss, steps=max(1, int(0.3 * steps)),
            start=wide.project(x0, start), target=target, goal=nothing,
        )  # fmt: skip
        start, spent, queries = part.x, spent + part.gradients, queries + part.queries
    left = max(1, steps - 2 * max(1, int(0.3 * steps)))
    got = descend(
        logits, x0, y, ball, loss=loss, steps=left, start=ball.project(x0, start), target=target,
        goal=goal,
    )  # fmt: skip
    return replace(got, gradients=got.gradients + spent, queries=got.queries + queries)


def _first_window(ball: Ball, steps: int) -> int:
    return max(1, int((0.04 if ball.norm == 1 else 0.22) * steps))


def _begin(
    x0: Any, y: Any, target: Any, goal: Any, ball: Ball, start: Any, value: Any, gradient: Any,
    wrong: Any,
) -> State:  # fmt: skip
    n, (low, high) = len(x0), ball.limits(x0)
    reach = float(torch.as_tensor(ball.epsilon).max()) if n else 0.0
    if ball.norm == 0:
        step = sizes(high - low, math.inf)
    else:
        step = torch.full((n,), reach * (1.0 if ball.norm == 1 else 2.0), dtype=x0.dtype,
                          device=x0.device)  # fmt: skip
    density = None
    if ball.norm == 1:
        used = sizes(start - x0, 0) / max(1, x0[0].numel() if n else 1) / THINNING
        density = torch.where(used > 0, used, torch.full_like(used, DENSITY))
    none = torch.zeros(n, dtype=torch.bool, device=x0.device)
    return State(
        torch.arange(n, device=x0.device), x0, low, high, y, target, goal, start, start, gradient,
        value, value.clone(), ~none, torch.empty_like(start), torch.empty_like(gradient),
        step, torch.zeros_like(y), value.clone(), none, density, none.clone(), ~none,
    ).keep(~wrong)  # fmt: skip


def _forward(logits: Logits, x: Any, *, back: bool) -> tuple[Any, Any]:
    """The rows and their logits, with a graph where they shall be sent backward."""
    with torch.set_grad_enabled(back):
        x = x.detach().requires_grad_(back)
        return x, logits(x)


def _backward(
    logits: Logits, x: Any, z: Any, slope: Any, wrong: Any, turned: int, finite: bool
) -> tuple[Any, int]:
    """The gradient (zero where there is none), and how many rows were sent backward.

    Where most rows are turned, it is that of the others alone, and zero of these.
    """
    found, back = None, len(x)
    if z.requires_grad:
        if turned > MOSTLY * len(x):
            found, back = _of_standing(logits, x.detach(), slope, ~wrong), len(x) - turned
        else:
            found = torch.autograd.grad(z, x, slope, allow_unused=True)[0]
    if found is None:
        return torch.zeros_like(x, requires_grad=False), back
    found = found.contiguous()  # not where it is one number seen many times
    if finite and not bool(found.sum().isfinite()):  # reading costs less than writing
        found = torch.nan_to_num(found)
    return found, back


def _of_standing(logits: Logits, x: Any, slope: Any, standing: Any) -> Any:
    """The gradient of the rows that stand, which are sent forward once more; zero of the others."""
    found, rows = torch.zeros_like(x), torch.nonzero(standing)[:, 0]
    if len(rows):
        part, z = _forward(logits, x[rows], back=True)
        own = torch.autograd.grad(z, part, slope[rows], allow_unused=True)[0]
        if own is not None:
            found.index_copy_(0, rows, own)
    return found


def _step(
    logits: Logits, s: State, ball: Ball, loss: Loss, k: int, last: bool, out: Descent
) -> State:
    """One iterate of the standing rows; those that break are written out and leave."""
    x, z = _forward(logits, _ahead(s, ball, loss, first=k == 0), back=not last)
    slope, wrong, fresh, turned, some, many = _weigh(s, z.detach(), loss)
    gradient, back = s.gradient, 0  # the last point needs none
    if not last:
        check = ball.norm != math.inf or not kernels.usable(x)
        gradient, back = _backward(logits, x, z, slope, wrong, turned, check)
        x = x.detach()
    out.count(len(x), back)
    s.before, s.x, s.gradient = s.x, x, gradient
    if some:
        hit = s.row[fresh]
        out.x[hit], out.broken[hit], out.best[hit] = x[fresh], True, s.best[fresh]
        if last or many > IDLE * len(x):
            return s.keep(~s.gone)
    return s


def _weigh(s: State, z: Any, loss: Loss) -> tuple[Any, Any, Any, int, int, int]:
    """Set the losses of an iterate against those before, and keep the best one that is left.

    Returns the slope of the loss, which rows are turned, which for the first time, and how many
    these are now, for the first time, and in all.
    """
    if kernels.usable(s.x) and kernels.usable(z):
        return weighed(s, z, loss)
    value, slope, wrong = judged(z, s.y, loss, s.target, s.goal)
    value, s.sweep = value.to(s.x.dtype), None
    s.rises = s.rises + (value > s.loss)
    better = value > s.best
    leaving = torch.nonzero(s.at_best & ~better)[:, 0]
    if len(leaving) == len(value):  # nothing writes into what a step has left behind
        s.best_x, s.best_gradient = s.x, s.gradient
    elif len(leaving):  # copied only now: most iterates are better than those before
        _put(s.best_x, leaving, s.x)
        _put(s.best_gradient, leaving, s.gradient)
    s.loss, s.best, s.at_best = value, torch.where(better, value, s.best), better
    s.still = torch.zeros_like(s.still)
    fresh = wrong & ~s.gone
    s.gone = s.gone | fresh
    return slope, wrong, fresh, int(wrong.sum()), int(fresh.sum()), int(s.gone.sum())


def _ahead(s: State, ball: Ball, loss: Loss, first: bool) -> Any:
    """The next iterate: a step up the gradient, and in L-inf, L2 and L0 momentum."""
    if ball.norm == math.inf and kernels.usable(s.x):
        return climbed(s, loss, 1.0 if first else MOMENTUM)
    limits = (s.low, s.high)
    if ball.norm == math.inf:
        ahead = s.gradient.sign()
        torch.addcmul(s.x, ahead, shaped(s.step, s.x), out=ahead).clamp_(*limits)
    else:
        room = None
        if ball.norm in (0, 1):
            room = torch.where(s.gradient > 0, s.x < s.high, s.x > s.low)
        way = ball.direction(s.gradient, room, s.density)
        ahead = ball.project(s.x0, s.x + shaped(s.step, s.x) * way, limits)
    if first or ball.norm == 1:
        return ahead
    # x + a (ahead - x) + (1 - a) (x - before), in place; before is x where there is no momentum
    rest = 1 - MOMENTUM
    still = int(s.still.sum())
    if still == len(s.still):
        ahead.mul_(MOMENTUM).add_(s.x, alpha=rest)
    elif still:
        own = shaped(torch.where(s.still, rest, 2 * rest).to(ahead.dtype), ahead)
        ahead.mul_(MOMENTUM).addcmul_(s.x, own).addcmul_(s.before, rest - own)
    else:
        ahead.mul_(MOMENTUM).add_(s.x, alpha=2 * rest).sub_(s.before, alpha=rest)
    return ahead.clamp_(*limits) if ball.norm == math.inf else ball.project(s.x0, ahead, limits)


def _adapt(s: State, window: int) -> None:
    """Halve the step of rows that rose too rarely or stalled, and restart them from their best."""
    stalled = ~s.halved & (s.best <= s.checked)
    halve = (s.rises < RHO * window) | stalled
    s.step = torch.where(halve, s.step / 2, s.step)
    _back(s, halve)
    s.halved, s.checked = halve, s.best.clone()
    s.rises = torch.zeros_like(s.rises)


def _thin(s: State, ball: Ball) -> None:
    """Fewer numbers moved at a time, and smaller steps where the best point is as sparse as before.

    Rows whose best point became sparser go on from there with the first step again (APGD-L1).
    """
    if not len(s.row):
        return
    now = sizes(s.best_point() - s.x0, 0) / s.x0[0].numel()
    sparser = now / THINNING < 0.95 * s.density
    whole = torch.full_like(s.step, float(torch.as_tensor(ball.epsilon).max()))
    s.step = torch.where(sparser, whole, torch.maximum(s.step / THINNING, SMALLEST * whole))
    s.density = (now / THINNING).clamp(min=1.0 / s.x0[0].numel())
    _back(s, sparser)


def _back(s: State, rows: Any) -> None:
    """Put rows back to their best iterate."""
    if not bool(rows.any()):
        return
    back = torch.nonzero(rows & ~s.at_best)[:, 0]
    if len(back) == len(rows):
        # what is swapped in for the best point is written anew when that is left
        s.x, s.best_x = s.best_x, s.x
        s.gradient, s.best_gradient = s.best_gradient, s.gradient
    elif len(back):
        _put(s.x, back, s.best_x)
        _put(s.gradient, back, s.best_gradient)
    if len(back):
        s.loss, s.at_best = torch.where(rows, s.best, s.loss), s.at_best | rows
    s.still = s.still | rows


def _put(into: Any, rows: Any, source: Any) -> None:
    """Copy rows in place, several times faster than by fancy indices."""
    into.index_copy_(0, rows, source.index_select(0, rows))


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
    """Auto-PGD, step size chosen by itself, from a random start (Croce and Hein, 2020, 2021).

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
        0, 1, 2 or ``inf``.
    epsilon : float
        Radius in units of ``x``, at least 0; in L0 the count of changed numbers.
    bounds : (low, high)
        Legal range: numbers, or arrays broadcast against the rows.
    steps : int
        Gradients for each row at most, at least 1.
    loss : {"ce", "dlr", "margin", "targeted-ce", "targeted-cw", "targeted-dlr", "targeted-margin"}
        The targeted ones aim at ``target``, or at the likeliest wrong class where it is None;
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
    ball = Ball(norm, epsilon, low, high)
    aim = None if target is None else as_labels(target, module)
    parts = []
    with still(module, seed):
        logits = logits_of(module)
        for i in range(0, len(rows), batch_size):
            part, own = rows[i : i + batch_size], right[i : i + batch_size]
            goal = None if aim is None else aim[i : i + batch_size]
            if goal is None and loss.startswith("targeted"):
                goal = likeliest(logits, part, own, 1)[:, 0]
            begin = ball.random(part, seed)
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
    check_norm(norm)
    if any(not (math.isfinite(e) and e >= 0) for e in epsilons) or not len(epsilons):
        raise UsageError(f"epsilons must be finite and not negative: {list(epsilons)}")
    if steps < 1:
        raise UsageError(f"steps must be at least 1, not {steps}")
