"""The public base and a few requests: candidates made on it, chosen by the model's answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from crenel.access import Access, Attacker
from crenel.check import Context, access_of
from crenel.exposure import Budget, Exposure, Harm, Health, HealthTest
from crenel.statistics import proportion
from crenel.subject import Data, Subject
from crenel.transfer.base.surrogate import METHODS, craft, noise

if TYPE_CHECKING:
    from crenel.transfer.base.exposed import Space

#: Requests for each row, the attack itself among them.
REQUESTS = (1, 5, 25, 100)
#: Candidates made with gradients of the base; later ones put two of them together.
MADE = 9


def candidates(
    module: Any,
    u: NDArray[np.float32],
    epsilon: float,
    guides: NDArray[np.float32],
    *,
    seed: int = 0,
    count: int = REQUESTS[-1],
) -> Iterator[NDArray[np.float32]]:
    """Changed rows in the order in which an attacker with the base would try them.

    The three methods of `crenel.transfer.base.surrogate.craft` come first, three times over, from
    other random starts and, for mimicry, with aims among other halves of the guides. Every later
    candidate takes each value of its change from one of two earlier ones at random, or from both
    added, and goes to the edge of the ball.

    Parameters
    ----------
    module : torch.nn.Module
        The base, over rows in [0, 1].
    u : ndarray, shape (n, …), float32
        Rows in [0, 1].
    epsilon : float
        Radius, L-inf.
    guides : ndarray, shape (m, …)
        Public rows.
    seed : int
    count : int

    Yields
    ------
    ndarray like ``u``
        Within the ball and [0, 1]; the model is not asked.
    """
    rng = np.random.default_rng(seed)
    made = []
    for i in range(min(MADE, count)):
        shard, method = divmod(i, len(METHODS))
        aims = guides if not shard else guides[rng.permutation(len(guides))[: -(-len(guides) // 2)]]
        changed = craft(module, u, epsilon, METHODS[method], guides=aims, seed=seed + i)
        made.append(changed - u)
        yield changed
    changes = np.stack(made)
    for _ in range(count - len(changes)):
        yield np.clip(u + _mixed(changes, epsilon, rng), 0, 1).astype(np.float32)


def _mixed(changes: NDArray[np.float32], epsilon: float, rng: Any) -> NDArray[np.float32]:
    """Two changes, put together value by value, at the edge of the ball."""
    first, second = changes[rng.choice(len(changes), 2, replace=False)]
    pick = rng.random(first.shape)
    both = np.where(pick < 1 / 3, first, np.where(pick < 2 / 3, second, first + second))
    signs = np.sign(np.where(both == 0, first, both))
    return np.asarray(epsilon * signs, dtype=np.float32)


def asked(
    flips: Callable[[NDArray[np.float32], NDArray[np.int64]], NDArray[np.bool_]],
    tries: Iterable[NDArray[np.float32]],
    n: int,
) -> tuple[NDArray[np.int64], int]:
    """Send one candidate after another for every row that still stands.

    Parameters
    ----------
    flips : callable
        ``flips(changed, rows)``: which of the changed rows the model decides otherwise.
    tries : iterable of ndarray, shape (n, …)
    n : int
        Rows.

    Returns
    -------
    ndarray of int64, shape (n,)
        The request that turned each row, from 1; 0 where none did.
    int
        Requests in all.
    """
    turned, spent = np.zeros(n, dtype=np.int64), 0
    for i, changed in enumerate(tries, start=1):
        left = np.flatnonzero(turned == 0)
        if not len(left):
            break
        spent += len(left)
        turned[left[flips(changed[left], left)]] = i
    return turned, spent


def by_requests(
    turned: NDArray[np.int64], requests: tuple[int, ...] = REQUESTS
) -> NDArray[np.bool_]:
    """Rows turned by so many requests, shape (len(requests), n), of what `asked` returns.

    The last request is the attack itself, whose answer the attacker needs not see: with one,
    nothing is learned.
    """
    return np.array([(turned > 0) & (turned <= r) for r in requests])


def with_requests(
    subject: Subject,
    module: Any,
    part: Data,
    space: Space,
    public: Any,
    epsilon: float,
    context: Context,
) -> list[Exposure]:
    """The base and a few answers of the model, at one epsilon; and noise with as many."""
    model = subject.model
    assert model is not None
    u = space.into(part.x)
    steady = model.predict(space.back(u)) == part.y

    def flips(changed: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        turned = model.predict(space.back(changed)) != part.y[rows]
        return np.asarray(turned & steady[rows])

    seed = context.derive_seed("requests")
    made = candidates(module, u, epsilon, space.into(public), seed=seed)
    blind = (noise(u, epsilon, seed + i) for i in range(REQUESTS[-1]))
    (by_base, spent), (by_noise, wasted) = (asked(flips, z, len(u)) for z in (made, blind))
    shares = by_requests(by_base).mean(axis=1)
    noisy = by_requests(by_noise).mean(axis=1)
    health = Health.of(
        HealthTest(
            name="noise with as many requests flips no more",
            ok=bool((noisy <= shares + 0.05).all()),
            detail=f"{noisy[-1]:.0%} against {shares[-1]:.0%} with {REQUESTS[-1]} requests",
        )
    )
    labels = access_of(subject, attacker=Attacker.LABELS)
    size = f"changes of {255 * epsilon:.0f}/255"
    told = (
        f"the public base and {REQUESTS[-1]} requests a row flip {100 * shares[-1]:.0f} % of "
        f"right decisions with {size}, and without an answer {100 * shares[0]:.0f} %"
    )
    tells = f"noise and {REQUESTS[-1]} requests a row flip {100 * noisy[-1]:.0f} % with {size}"
    return [
        _curve(by_base, spent, "base and requests", "attack", labels, health, context, told),
        _curve(by_noise, wasted, "noise and requests", "control", labels, health, context, tells),
    ]


def _curve(
    turned: NDArray[np.int64],
    queries: int,
    series: str,
    role: Literal["attack", "control"],
    access: Access,
    health: Health,
    context: Context,
    headline: str,
) -> Exposure:
    """One curve over requests, of the request that turned each row."""
    n = len(turned)
    points = [proportion(int(k), n) for k in by_requests(turned).sum(axis=1)]
    return Exposure(
        check="TRA-102",
        risk="transfer",
        series=series,
        role=role,
        access=access,
        budget=Budget(name="requests", unit="per row", values=REQUESTS, scale="log"),
        harm=Harm(
            name="right decisions flipped",
            values=tuple(p.value for p in points),
            low=tuple(p.low for p in points),
            high=tuple(p.high for p in points),
        ),
        n=n,
        seed=context.seed,
        queries=queries,
        seconds=context.elapsed,
        health=health,
        headline=headline,
    )
