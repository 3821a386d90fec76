"""Transfer: small networks taught by a model's answers, and attacks on them that the model judges.

Papernot et al., "Practical black-box attacks against machine learning" (2017); the steps with
momentum are those of Dong et al., "Boosting adversarial attacks with momentum" (2018). No
gradient of the model is used, so a model that hides them is no harder to attack this way.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from crenel.evasion.gradients.descent import Ball, losses
from crenel.evasion.gradients.mending import signs
from crenel.evasion.gradients.network import Logits, generator, shaped, torch

#: Momentum of the steps, and gradients between two questions to the model.
MOMENTUM, EVERY = 0.9, 4
#: Length of all steps together, in radii; share of the numbers that a step in L1 moves.
STRIDE, SPARSE = 2.5, 0.05
#: Rows of a training step of the surrogates, and steps in each of two rounds.
BATCH, LEARNING = 48, (80, 40)
RATE = 3e-3
#: Rows that surrogates are taught on at most, before they are varied.
TAUGHT = 400


@dataclass(frozen=True)
class Surrogates:
    """Networks taught by a model's decisions.

    Attributes
    ----------
    networks : tuple of torch.nn.Module
    agreement : float
        Share of the rows, as they are, that their mean decides as the model does.
    queries : int
        Rows asked of the model.
    """

    networks: tuple[Any, ...]
    agreement: float
    queries: int

    def logits(self, x: Any) -> Any:
        """Mean logits, shape (n, k)."""
        return torch.stack([net(x) for net in self.networks]).mean(dim=0)


def distil(
    own: Logits,
    x: Any,
    ball: Ball,
    *,
    seed: int,
    deadline: float | None = None,
) -> Surrogates:
    """Teach two small networks to decide as the model does around some rows.

    They learn from rows, noisy and mixed copies of them, and then from what breaks themselves,
    all labelled by the model.

    Parameters
    ----------
    own : callable
        The model's logits, of which only decisions are used.
    x : tensor, shape (n, …)
    ball : Ball
        The changes that they must be right about.
    seed : int
    deadline : float or None
        On `time.monotonic`'s clock; teaching stops there.
    """
    rows = x[:TAUGHT]
    draw = generator(seed)
    with torch.no_grad():
        answers = own(rows)
    right, k = answers.argmax(dim=1), answers.shape[1]
    with torch.random.fork_rng(devices=[x.device] if x.device.type == "cuda" else []):
        torch.manual_seed(seed)
        nets = [net.to(x.device) for net in networks(rows, k)]
    lesson = torch.cat([rows, *_varied(rows, ball, draw, seed)])
    taught, queries = _decided(own, lesson), len(lesson) + len(rows)
    teach(nets, lesson, taught, LEARNING[0], draw, deadline)
    found = Surrogates(tuple(nets), 0.0, 0)
    hard = torch.cat([
        pursue(found.logits, found.logits, rows, right, ball, steps=8, leave=False).x,
        lesson[len(rows) : 2 * len(rows)],
    ])  # fmt: skip
    lesson, taught = torch.cat([lesson, hard]), torch.cat([taught, _decided(own, hard)])
    teach(nets, lesson, taught, LEARNING[1], draw, deadline)
    agreement = float((_decided(found.logits, rows) == right).float().mean())
    return Surrogates(tuple(n.eval() for n in nets), agreement, queries + len(hard))


def _decided(logits: Logits, x: Any) -> Any:
    with torch.no_grad():
        return torch.cat([logits(part).argmax(dim=1) for part in x.split(256)])


def _varied(rows: Any, ball: Ball, draw: Any, seed: int) -> list[Any]:
    """Copies moved to the rim at random, coarsely and finely, and mixtures of pairs."""
    fine = ball.random(rows, seed)
    coarse = rim(ball, rows, rows, signs(rows.shape, draw, coarse=True).to(rows), 1.0)
    order = torch.randperm(len(rows), generator=draw).to(rows.device)
    share = shaped(torch.rand(len(rows), generator=draw).to(rows.device), rows)
    return [fine, coarse, ball.box(rows + share * (rows[order] - rows))]


def rim(ball: Ball, x0: Any, x: Any, towards: Any, share: float) -> Any:
    """Points moved by a share of the radius along a direction, steepest in the norm.

    In L0, where no direction has a length, by that share of the box in each number.
    """
    if ball.norm == 0:
        width = ball.box(torch.full_like(x, math.inf)) - ball.box(torch.full_like(x, -math.inf))
        return ball.project(x0, x + share * width * ball.direction(towards))
    density = torch.full((len(x),), SPARSE, dtype=x.dtype, device=x.device)
    size = torch.as_tensor(ball.epsilon, dtype=x.dtype, device=x.device).expand(len(x))
    way = ball.direction(towards, density=density)
    return ball.project(x0, x + shaped(share * size, x) * way)


class _Standard(torch.nn.Module):  # type: ignore[misc]
    """Rows brought to mean 0 and deviation 1, whatever their units.

    Numbers that hardly differ are not stretched without end: changes of them would seem to
    matter more than they do.
    """

    def __init__(self, rows: Any, least: float) -> None:
        super().__init__()
        axes = 0 if rows.ndim == 2 else tuple(range(rows.ndim))
        self.mean, spread = rows.mean(dim=axes), rows.std(dim=axes)
        spread = spread.clamp(min=least * float(spread.square().mean().sqrt()))
        self.scale = torch.where(spread > 0, spread, torch.ones_like(spread))

    def forward(self, x: Any) -> Any:
        return (x - self.mean) / self.scale


def networks(rows: Any, k: int, least: float = 0.0) -> list[Any]:
    """A perceptron, and a small convolutional network for images or else a linear model.

    Parameters
    ----------
    rows : tensor, shape (n, …)
        Whose mean and deviation the networks bring rows to.
    k : int
        Classes.
    least : float
        Least deviation of a number, as a share of the mean one.
    """
    return [torch.nn.Sequential(_Standard(rows, least), net) for net in _bodies(rows, k)]


def _bodies(rows: Any, k: int) -> list[Any]:
    nn = torch.nn
    d = rows[0].numel()
    wide = nn.Sequential(nn.Flatten(), nn.Linear(d, 64), nn.ReLU(), nn.Linear(64, k))
    if rows.ndim != 4 or min(rows.shape[2:]) < 6:
        return [wide, nn.Sequential(nn.Flatten(), nn.Linear(d, k))]
    body = [nn.Conv2d(rows.shape[1], 8, 5, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1)]
    body += [nn.ReLU(), nn.Flatten()]
    with torch.no_grad():
        size = nn.Sequential(*body)(rows[:1].cpu()).shape[1]
    return [wide, nn.Sequential(*body, nn.Linear(size, k))]


def teach(nets: list[Any], x: Any, y: Any, steps: int, draw: Any, deadline: float | None) -> None:
    """Steps of Adam (Kingma and Ba, 2015), by hand: torch's own takes seconds to import.

    Parameters
    ----------
    nets : list of torch.nn.Module
        Taught in place.
    x : tensor, shape (n, …)
    y : tensor of int64, shape (n,), or of shares of classes, shape (n, k)
    steps : int
        Of 48 rows each.
    draw : torch.Generator
        Of batches.
    deadline : float or None
        On `time.monotonic`'s clock; teaching stops there.
    """
    weights = [p for net in nets for p in net.parameters()]
    means, squares = ([torch.zeros_like(p) for p in weights] for _ in range(2))
    for k in range(1, steps + 1):
        if deadline is not None and time.monotonic() >= deadline:
            return
        some = torch.randint(0, len(x), (BATCH,), generator=draw).to(x.device)
        with torch.enable_grad():
            loss = sum(torch.nn.functional.cross_entropy(net(x[some]), y[some]) for net in nets)
            slopes = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for p, g, m, v in zip(weights, slopes, means, squares):
                m.lerp_(g, 0.1)
                v.lerp_(g * g, 0.001)
                p -= RATE * (m / (1 - 0.9**k)) / ((v / (1 - 0.999**k)).sqrt() + 1e-8)


@dataclass(frozen=True)
class Pursuit:
    """What steps along a guide reached.

    Attributes
    ----------
    x : tensor, shape (n, …)
        The first iterate that the model decides wrongly, else the last.
    broken : tensor of bool, shape (n,)
    passes : int
        Rows sent through the guide, and asked of the model.
    """

    x: Any
    broken: Any
    passes: int


def pursue(
    own: Logits, guide: Logits, x0: Any, y: Any, ball: Ball, *, steps: int, leave: bool = True,
    goal: Any = None,
) -> Pursuit:  # fmt: skip
    """Steps with momentum along another model's gradients, judged by the model itself.

    Unlike a descent on the guide, it goes on where the guide is already wrong, since the model
    need not be.

    Parameters
    ----------
    own : callable
        Only its decisions are used.
    guide : callable
    x0 : tensor, shape (n, …)
    y : tensor of int64, shape (n,)
    ball : Ball
    steps : int
        Gradients; the model is asked after every fourth and the last.
    leave : bool
        Whether rows leave once broken; False goes all the way with each.
    goal : tensor of int64, shape (n,), optional
        The only decisions that count; by default every wrong one does.
    """
    out, broken = x0.clone(), torch.zeros(len(x0), dtype=torch.bool, device=x0.device)
    row, x, speed, passes = torch.arange(len(x0), device=x0.device), x0, torch.zeros_like(x0), 0
    for k in range(steps):
        if not len(row):
            break
        slope = _uphill(guide, x, y[row], None if goal is None else goal[row])
        size = slope.flatten(1).abs().mean(dim=1).clamp(min=1e-30)
        speed = MOMENTUM * speed + slope / shaped(size, slope)
        x = rim(ball, x0[row], x, speed, STRIDE / steps)
        passes += len(x)
        if leave and (k % EVERY == EVERY - 1 or k == steps - 1):
            passes += len(x)
            wrong = _turned(own, x, row, y, goal)
            out[row], broken[row] = x, wrong
            row, x, speed = row[~wrong], x[~wrong], speed[~wrong]
    if not leave:
        out = x
    return Pursuit(out, broken, passes)


def _turned(own: Logits, x: Any, row: Any, y: Any, goal: Any) -> Any:
    """Whether the model decides some rows otherwise, or as they shall be decided."""
    decided = _decided(own, x)
    return decided != y[row] if goal is None else decided == goal[row]


def _uphill(guide: Logits, x: Any, y: Any, goal: Any) -> Any:
    """Gradient of the guide's margin, away from y or towards a goal; zero where there is none."""
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        z = guide(x)
        value = losses(z, y, "margin") if goal is None else -losses(z, goal, "margin")
        value = value.sum()
        if not value.requires_grad:
            return torch.zeros_like(x)
        found = torch.autograd.grad(value, x, allow_unused=True)[0]
    return torch.zeros_like(x) if found is None else torch.nan_to_num(found).detach()


def by_decisions(
    own: Logits, x0: Any, y: Any, pool: Any, decided: Any, ball: Ball, *, queries: int, seed: int,
    goal: Any = None,
) -> Pursuit:  # fmt: skip
    """A search that sees decisions alone: towards rows decided otherwise, and at random.

    Parameters
    ----------
    own : callable
    x0 : tensor, shape (n, …)
    y : tensor of int64, shape (n,)
    pool : tensor, shape (m, …)
        Rows to go towards.
    decided : tensor of int64, shape (m,)
        Their decisions.
    ball : Ball
    queries : int
        For each row at most: two thirds towards the nearest rows of the pool.
    seed : int
    goal : tensor of int64, shape (n,), optional
        The only decisions that count; by default every wrong one does.
    """
    draw = generator(seed)
    far = torch.cdist(x0.flatten(1), pool.flatten(1))
    same = decided[None, :] == y[:, None] if goal is None else decided[None, :] != goal[:, None]
    far = far.masked_fill(same, float("inf"))
    near = far.argsort(dim=1)[:, : max(1, queries // 3)]
    out, broken, passes = x0.clone(), torch.zeros(len(x0), dtype=torch.bool, device=x0.device), 0
    for k in range(queries):
        row = torch.nonzero(~broken)[:, 0]
        if not len(row):
            break
        donor = pool[near[row, (k // 2) % near.shape[1]]] - x0[row]
        if k % 3 == 2:
            donor = signs(x0[row].shape, draw, coarse=k % 2 == 0).to(x0)
        here = x0[row]
        trial = rim(ball, here, here, donor, 1.0) if k % 3 else ball.project(here, here + donor)
        wrong = _turned(own, trial, row, y, goal)
        passes += len(row)
        out[row[wrong]], broken[row[wrong]] = trial[wrong], True
    return Pursuit(out, broken, passes)
