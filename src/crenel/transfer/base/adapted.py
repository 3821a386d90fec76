"""A base tuned again on a model's answers: the attacker who knows that the base was left."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.access import Attacker
from crenel.check import Context, access_of
from crenel.evasion.gradients.network import decisions, generator, logits_of, still, torch
from crenel.exposure import Exposure, Health, HealthTest
from crenel.subject import Data, Subject
from crenel.transfer.base.surrogate import craft, network_of

if TYPE_CHECKING:
    from crenel.transfer.base.exposed import Space

#: Answers asked for in all, of which a tenth are kept to see how alike the answers became.
ASKED = 400
#: Size of the changes of the second round, rows seen in each round, and the greatest rate.
SECOND, SEEN, RATE, BATCH = 16 / 255, 8_000, 2e-3, 64


class Retuned(torch.nn.Module):  # type: ignore[misc]
    """A copy of a base with a new last layer.

    Parameters
    ----------
    base : torch.nn.Module
        Over rows in [0, 1].
    sample : tensor, shape (1, …)
    k : int
        Classes.
    """

    def __init__(self, base: Any, sample: Any, k: int) -> None:
        super().__init__()
        self.body = copy.deepcopy(base)
        self._network = [network_of(self.body, sample)]  # in a list: it is no part of the state
        with torch.no_grad():
            wide = self._network[0].features(sample).shape[1]
        self.head = torch.nn.Linear(wide, k)

    def forward(self, u: Any) -> Any:
        """Logits of rows in [0, 1]."""
        return self.head(self._network[0].features(u))


@dataclass(frozen=True)
class Adapted:
    """What the attacker has after asking.

    Attributes
    ----------
    module : torch.nn.Module
        The base, tuned again, over rows in [0, 1].
    agreement, usual : float
        Share of rows not taught on which it answers as the model does, and the share of the
        model's most frequent answer among them.
    queries : int
    """

    module: Any
    agreement: float
    usual: float
    queries: int


def retuned(
    base: Any,
    ask: Callable[[NDArray[np.float32]], NDArray[np.int64]],
    u: NDArray[np.float32],
    k: int,
    *,
    asked: int = ASKED,
    epsilon: float = SECOND,
    rate: float = RATE,
    seed: int = 0,
    go_on: Callable[[], bool] = lambda: True,
) -> Adapted:
    """Tune a copy of the public base, all layers, on a model's answers to an attacker's own rows.

    In two rounds: on rows as they are, then also on the same rows changed so that the copy of the
    first round decides otherwise (Papernot et al., 2017), about half of the answers each.

    Parameters
    ----------
    base : torch.nn.Module
        Over rows in [0, 1]; it is left as it is.
    ask : callable
        From rows to the model's class indices.
    u : ndarray, shape (n, …), float32
        The attacker's rows in [0, 1].
    k : int
        Classes of the model.
    asked : int
        Answers at most.
    epsilon : float
        Size of the changes of the second round, L-inf.
    rate : float
        Greatest learning rate; it rises and falls once in each round.
    seed : int
    go_on : callable
        Asked before each step of the training.

    Notes
    -----
    Papernot et al., "Practical black-box attacks against machine learning", 2017; Orekondy et
    al., "Knockoff nets", 2019 (a pre-trained copy).
    """
    rows = u[np.random.default_rng(seed).permutation(len(u))[: asked // 2]]
    spare = max(1, len(rows) // 10)
    held, rows = rows[:spare], rows[spare:]
    x, y = torch.from_numpy(rows), torch.from_numpy(ask(rows))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = Retuned(base, x[:1], k)
    _teach(module, x, y, rate, seed, go_on)
    queries = len(held) + len(rows)
    if go_on():
        queries += len(rows)
        near = craft(module, rows, epsilon, "decision", seed=seed)
        both = torch.cat([x, torch.from_numpy(near)])
        _teach(module, both, torch.cat([y, torch.from_numpy(ask(near))]), rate, seed + 1, go_on)
    told = ask(held)
    with still(module, seed):
        own = decisions(logits_of(module), torch.from_numpy(held))
    usual = np.bincount(told, minlength=k).max() / len(told)
    return Adapted(module, float((own == told).mean()), float(usual), queries)


def _teach(module: Any, x: Any, y: Any, rate: float, seed: int, go_on: Callable[[], bool]) -> None:
    """Train all layers; means and variances of normalisation stay the base's."""
    weights = [p for p in module.parameters() if p.is_floating_point()]
    for p in weights:
        if not p.is_leaf:
            p.detach_()
        p.requires_grad_(True)
    steps = SEEN // BATCH
    adam = torch.optim.Adam(weights, lr=rate)
    cycle = torch.optim.lr_scheduler.OneCycleLR(adam, rate, total_steps=steps + 1)
    draw = generator(seed)
    with torch.enable_grad(), still(module, seed):
        for _ in range(steps):
            if not go_on():
                break
            some = torch.randint(len(x), (BATCH,), generator=draw)
            adam.zero_grad()
            torch.nn.functional.cross_entropy(module(x[some]), y[some]).backward()
            torch.nn.utils.clip_grad_norm_(weights, 5.0)
            adam.step()
            cycle.step()
    module.eval()


def by_answers(
    subject: Subject,
    module: Any,
    part: Data,
    space: Space,
    public: Any,
    noisy: NDArray[np.bool_],
    context: Context,
) -> tuple[Exposure, str]:
    """The curve of the attacker who tunes the base again, and a note on what it took.

    Parameters
    ----------
    part : Data
        Rows under attack.
    public : rows
        The attacker's own.
    noisy : ndarray of bool, shape (epsilons, n)
        What noise flips of the same rows.
    """
    from crenel.transfer.base.exposed import curve, strongest

    model = subject.model
    assert model is not None
    own = space.into(public)
    seed = context.derive_seed("answers")
    found = retuned(
        module, lambda rows: np.asarray(model.predict(space.back(rows))), own, model.k,
        seed=seed, go_on=lambda: not context.expired,
    )  # fmt: skip
    best, trial, above = strongest(
        found.module, model, part, space, own, noisy, lambda method, epsilon: seed
    )
    health = Health.of(
        above,
        HealthTest(
            name="the base learned the answers",
            ok=found.agreement > min(0.99, found.usual + 0.05),
            detail=(
                f"{found.agreement:.0%} of the answers on rows not taught; the most frequent one "
                f"is {found.usual:.0%}"
            ),
        ),
    )
    labels = access_of(subject, attacker=Attacker.LABELS)
    who = f"the public base, tuned again on {found.queries} answers, flips"
    made = curve(
        "attack", "base tuned on answers", "attack", trial, labels, health, context, who=who
    )
    asked = found.queries + made.queries
    return made.model_copy(update={"queries": asked}), (
        f"an attacker who tunes the base again on {found.queries} answers to rows of their own "
        f"agrees with the model on {found.agreement:.0%} of others; the best method is {best}"
    )
