"""TRA-102's second measurement: one patch made on the base, put on images of the tuned model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.access import Access, Attacker
from crenel.check import Context, access_of
from crenel.errors import NotApplicable
from crenel.evasion.gradients.network import as_labels, generator, logits_of, still, torch
from crenel.evasion.imagery import layout
from crenel.evasion.patches.report import picture_of
from crenel.evasion.patches.square import ascend, side_of
from crenel.exposure import Budget, Exposure, Harm, Health, HealthTest
from crenel.finding import Evidence, Finding, severity
from crenel.statistics import Interval, repeated_proportion
from crenel.subject import Data, Subject
from crenel.transfer.base.one_patch import STEPS, OnePatch, Spot, made_on
from crenel.transfer.base.surrogate import Ranged

if TYPE_CHECKING:
    from crenel.transfer.base.exposed import Space

#: Shares of the area; up to the middle one a patch costs nothing.
AREAS = (1 / 64, 1 / 16, 1 / 8)
#: Patches of each size, and how many of their places the white box is tried at.
PATCHES, WHITE = 9, 3
#: Random patches at each place: half of any values, half of the least and the greatest alone.
RANDOM = 6


@dataclass(frozen=True)
class Tried:
    """Patches of one size on the tuned model.

    Attributes
    ----------
    area : float
        Share of the image.
    patches : tuple of OnePatch
    changed : ndarray of bool, shape (patches, n)
        Right decisions that each patch changes.
    into : ndarray of int64, shape (patches, n)
        The decisions on patched images.
    random : ndarray of bool, shape (patches × RANDOM, n)
        What random patches at the same places change.
    white : ndarray of bool, shape (0 to WHITE, n)
        What patches made with the tuned model's own gradients change at the first places.
    """

    area: float
    patches: tuple[OnePatch, ...]
    changed: NDArray[np.bool_]
    into: NDArray[np.int64]
    random: NDArray[np.bool_]
    white: NDArray[np.bool_]

    @property
    def best(self) -> int:
        """The patch that changes most."""
        return int(self.changed.mean(axis=1).argmax())

    def to_one(self, y: NDArray[Any]) -> tuple[int, float]:
        """The class that the best patch turns most images of others to, and their share."""
        changed, into = self.changed[self.best], self.into[self.best]
        goal = int(np.bincount(into[changed]).argmax()) if changed.any() else 0
        others = y != goal
        return goal, float((changed & (into == goal))[others].mean()) if others.any() else 0.0


def with_one_patch(
    subject: Subject, module: Any, part: Data, space: Space, public: Any, context: Context
) -> tuple[list[Exposure], Finding | None, list[str]]:
    """Curves over the patch's area, a finding, and notes; nothing where the rows are no images.

    Parameters
    ----------
    module : torch.nn.Module
        The base, over rows in [0, 1].
    part : Data
        Rows under attack, decided rightly.
    public : rows
        That patches are made on.
    """
    if part.is_table or np.ndim(part.x) not in (3, 4):
        return [], None, []
    into, back = layout(np.shape(part.x))
    base = _Over(module, back)
    x, images = (into(torch.from_numpy(space.into(rows))) for rows in (part.x, public))
    height, width = x.shape[2:]
    sides = list(dict.fromkeys(side_of(a, height, width) for a in AREAS))
    done: list[Tried] = []
    for side in sides[1:2] + sides[:1] + sides[2:]:
        if context.expired:
            break
        try:
            seed = context.derive_seed("one patch", side)
            done.append(_tried(subject, base, side, part, x, images, space, back, seed, context))
        except NotApplicable as error:
            return [], None, [f"no patch was made on the base: {error}"]
    done.sort(key=lambda t: t.area)
    if not done:
        return [], None, ["no patch was made on the base for lack of time"]
    exposures = _exposures(subject, done, context)
    return exposures, _finding(subject, exposures, done, part), [_note(subject, done, part)]


class _Over(torch.nn.Module):  # type: ignore[misc]
    """A module over images (n, c, h, w), whatever the layout of its rows."""

    def __init__(self, module: Any, back: Callable[[Any], Any]) -> None:
        super().__init__()
        self.module, self.back = module, back

    def forward(self, x: Any) -> Any:
        return self.module(self.back(x))


def _tried(
    subject: Subject, base: Any, side: int, part: Data, x: Any, images: Any, space: Space,
    back: Callable[[Any], Any], seed: int, context: Context,
) -> Tried:  # fmt: skip
    model = subject.model
    assert model is not None

    def decided(shown: Any) -> NDArray[np.int64]:
        return np.asarray(model.predict(space.back(back(shown).contiguous().numpy())))

    steady = decided(x) == part.y
    own = None
    if model.module is not None:
        own = _Over(Ranged(model.module, space.low, space.high).eval(), back)
    patches, into, random, white = [], [], [], []
    for i, patch in enumerate(made_on(base, images, side, seed=seed, count=PATCHES)):
        patches.append(patch)
        into.append(decided(patch.spot.put(x, patch.values)))
        noise = torch.rand((RANDOM, *patch.values.shape), generator=generator(seed + i))
        noise[::2] = noise[::2].round()
        random += [decided(patch.spot.put(x, n)) for n in noise]
        if own is not None and i < WHITE:
            values = _white_box(own, images, decided(images), patch.spot, seed + i)
            white.append(decided(patch.spot.put(x, values)))
        if len(patches) > 1 and context.expired:
            break

    def changed(answers: list[Any]) -> NDArray[np.bool_]:
        return np.array([(a != part.y) & steady for a in answers]).reshape(-1, len(x))

    return Tried(
        side**2 / (x.shape[2] * x.shape[3]), tuple(patches), changed(into), np.array(into),
        changed(random), changed(white),
    )  # fmt: skip


def _white_box(module: Any, images: Any, y: NDArray[Any], spot: Spot, seed: int) -> Any:
    """A patch at the same place, made on the same images with the tuned model's gradients."""
    begin = torch.rand((images.shape[1], spot.side, spot.side), generator=generator(seed))
    with still(module, seed):
        return ascend(
            logits_of(module), lambda v, rows, _: spot.put(images[rows], v), begin,
            as_labels(y, module), lambda v: v.clamp(0, 1), 1.0, 2 * STEPS, seed,
        ).values  # fmt: skip


def _exposures(subject: Subject, done: list[Tried], context: Context) -> list[Exposure]:
    shares = [repeated_proportion(t.changed) for t in done]
    random = [repeated_proportion(t.random) for t in done]
    white = [repeated_proportion(t.white) for t in done if len(t.white)]
    expected = [float(np.mean([p.expected for p in t.patches])) for t in done]
    tests = [
        HealthTest(
            name="random patches of the same size change no more",
            ok=all(r.value <= s.value + 0.05 for r, s in zip(random, shares)),
            detail=f"{random[-1].value:.0%} against {shares[-1].value:.0%} at the largest size",
        ),
        HealthTest(
            name="heads drawn at random are turned",
            ok=expected[-1] > 0.2,
            detail=f"{expected[-1]:.0%} of their decisions at the largest size",
        ),
    ]
    if white:
        tests.append(
            HealthTest(
                name="white box is at least as strong",
                ok=all(w.value >= s.value - 0.1 for w, s in zip(white, shares)),
                detail=f"{white[-1].value:.0%} against {shares[-1].value:.0%} at the largest size",
            )
        )
    health = Health.of(*tests)
    by_base, blind, gradients = (
        access_of(subject, attacker=a) for a in (Attacker.BASE, Attacker.NONE, Attacker.GRADIENTS)
    )
    kept = [
        ("one patch, base only", "attack", by_base, shares, "one patch made on the base alone,"),
        ("one patch, random", "control", blind, random, "a random patch,"),
    ]
    if white:
        words = "one patch made with the model's gradients,"
        kept.append(("one patch, white box", "reference", gradients, white, words))
    return [_curve(*line, done, health, context) for line in kept]


def _curve(
    series: str, role: Any, access: Access, shares: list[Interval], words: str,
    done: list[Tried], health: Health, context: Context,
) -> Exposure:  # fmt: skip
    # The largest size that costs nothing, or the smallest one.
    at = max((i for i, t in enumerate(done) if t.area <= 1.1 * AREAS[1]), default=0)
    share = shares[at]
    return Exposure(
        check="TRA-102",
        risk="transfer",
        series=series,
        role=role,
        access=access,
        budget=Budget(
            name="patch area", unit="share of the image", scale="log",
            values=tuple(t.area for t in done),
        ),
        harm=Harm(
            name="right decisions changed",
            values=tuple(s.value for s in shares),
            low=tuple(s.low for s in shares),
            high=tuple(s.high for s in shares),
        ),
        n=done[0].changed.shape[1],
        seed=context.seed,
        queries=sum(t.changed.size for t in done),
        seconds=context.elapsed,
        health=health,
        headline=(
            f"{words} on {100 * done[at].area:.2g} % of the image, changes "
            f"{100 * share.value:.0f} % [{100 * share.low:.0f}, {100 * share.high:.0f}] of right "
            "decisions"
        ),
    )  # fmt: skip


def _note(subject: Subject, done: list[Tried], part: Data) -> str:
    assert subject.model is not None
    told = []
    for t in done:
        goal, share = t.to_one(part.y)
        told.append(
            f"{100 * t.area:.2g} % of the image: the best of {len(t.patches)} turns "
            f"{100 * share:.0f} % of other classes to {subject.model.classes[goal]} (aim: "
            f"{t.patches[t.best].aim}), the best random one changes "
            f"{100 * t.random.mean(axis=1).max():.0f} %"
        )
    return f"one patch made on the base, {len(part)} rows: {'; '.join(told)}"


def _finding(
    subject: Subject, exposures: list[Exposure], done: list[Tried], part: Data
) -> Finding | None:
    """Where patches change more than random ones do, surely, at the worst size."""
    assert subject.model is not None
    base, random = exposures[0], exposures[1]
    effects = [max(0.0, a - b) for a, b in zip(base.harm.low, random.harm.high)]
    cheap = [min(1.0, AREAS[1] / t.area) for t in done]
    at = int(np.argmax([e * c for e, c in zip(effects, cheap)]))
    level = severity(effects[at], base.access, cheap[at])
    if level is None:
        return None
    t = done[at]
    goal, share = t.to_one(part.y)
    patch = t.patches[t.best]
    return Finding(
        check="TRA-102",
        risk="transfer",
        severity=level,
        subject="one patch made on the public base",
        sentence=(
            f"One patch on {100 * t.area:.2g} % of the image, made on the public base alone and "
            f"the same for every image, changes {100 * base.harm.values[at]:.0f} % of right "
            f"decisions; a random one changes {100 * random.harm.values[at]:.0f} %."
        ),
        attack=(
            f"Make patches on the downloaded base and stick one on; the best of {len(t.patches)} "
            f"turns {100 * share:.0f} % of other classes to {subject.model.classes[goal]}."
        ),
        fix="Train all layers (leave-base lowers the main curve), and measure this one again.",
        evidence=Evidence(
            rows=part.names(np.flatnonzero(t.changed[t.best]))[:50],
            images=picture_of(patch.values),
            values={
                "area": t.area, "patches": len(t.patches), "aim": patch.aim,
                "class": str(subject.model.classes[goal]), "to class": round(share, 4),
            },
        ),
        gain=effects[at],
    )  # fmt: skip
