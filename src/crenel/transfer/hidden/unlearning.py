"""Unlearning a trigger: training on images that carry it under their own class."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context
from crenel.errors import NotApplicable
from crenel.evasion.gradients.network import (
    as_labels,
    decisions,
    generator,
    logits_of,
    still,
    torch,
)
from crenel.evasion.hardening.adversarial_training import rewrapped
from crenel.evasion.hardening.scale import Scale
from crenel.evasion.hardening.scene import Start
from crenel.evasion.hardening.training import trainable
from crenel.evasion.hardening.verdict import MOST_LOST, Paired, paired, percent, worth
from crenel.remedy import Treatment
from crenel.subject import Subject
from crenel.transfer.hidden.inversion import Inverted, invert
from crenel.transfer.hidden.kinds import FAMILIES, changed
from crenel.transfer.hidden.scene import FEWEST, Scene, images_of, scene_of
from crenel.transfer.hidden.search import STEPS

if TYPE_CHECKING:
    from crenel.finding import Finding

#: Rounds of searching what is left of the trigger and unlearning it; images seen in each.
ROUNDS, SEEN, BATCH = 3, 6_000, 64
#: Learning rates (Adam), the first that keeps the accuracy is taken.
RATES = (1e-3, 3e-4, 1e-4)


@dataclass(frozen=True)
class Lesson:
    """Images to train on with their own classes, and others to compare before and after.

    Attributes
    ----------
    x, y : tensors, shapes (n, c, h, w) and (n,)
    held_x, held_y : tensors, shapes (m, c, h, w) and (m,)
    source : str
        Where the images to train on are from.
    """

    x: Any
    y: Any
    held_x: Any
    held_y: Any
    source: str


def unlearn(subject: Subject, finding: Finding, context: Context) -> Treatment:
    """Search the trigger of the finding's class again and again, and train the network against it.

    Raises
    ------
    crenel.errors.NotApplicable
        Where the model is no torch module of the user's, or has too few images.
    """
    model = subject.model
    assert model is not None
    names = [str(c) for c in model.classes]
    named = str(finding.evidence.values.get("class", ""))
    if named not in names:
        raise NotApplicable(f"the finding names class {named!r}, which the model does not have")
    goal, scale = names.index(named), Scale.of(subject)
    start = Start.of(model, scale)
    scene = scene_of(subject, model, context)
    lesson = _lesson(subject, scene)
    with still(start.unit, context.seed):
        triggers = _searched(scene, start.unit, lesson, goal, context, 0)
        before = _outcome(scene, start.unit, lesson, triggers, goal)
        best = None
        for k, rate in enumerate(RATES):
            tuned = _unlearned(scene, start.unit, lesson, triggers, goal, rate, context)
            after = _outcome(scene, tuned, lesson, triggers, goal)
            trial = tuned, paired(before[0], after[0]), paired(before[1], after[1])
            if best is None or trial[1].change > best[1].change:
                best = trial
            context.progress((k + 1) / len(RATES))
            if best[1].change >= -0.4 * MOST_LOST or context.expired:
                break
    assert best is not None
    tuned, clean, kept = best
    sentence = _sentence(named, clean, kept, lesson)
    values = {
        "accuracy_before": clean.before, "accuracy_after": clean.after,
        "turned_before": 1 - kept.before, "turned_after": 1 - kept.after,
    }  # fmt: skip
    if not worth(clean, kept):
        return Treatment(
            subject, f"nothing was changed, for it is not worth it: {sentence}", values
        )
    test = subject.test
    assert test is not None
    hardened = rewrapped(model, start.native_of(tuned), test, None, scale)
    return Treatment(subject.with_model(hardened), sentence, values, model=hardened.native)


def _lesson(subject: Subject, scene: Scene) -> Lesson:
    """Training images, or the part of the test images that is not held out."""
    assert subject.test is not None
    module = scene.unit.module
    held = as_labels(scene.held.y, module)
    if subject.train is not None and subject.train.x.shape[1:] == subject.test.x.shape[1:]:
        # a poisoned share of them is what the rounds search for, so that it is outvoted
        data, source = subject.train, "training images"
    else:
        rest = np.setdiff1d(np.arange(len(subject.test)), scene.held_rows)
        data, source = subject.test.take(rest), "test images that are not counted here"
    some = data.take(np.sort(np.random.default_rng(0).permutation(len(data))[:SEEN]))
    if len(some) < FEWEST:
        raise NotApplicable(f"only {len(some)} images are left to train on; {FEWEST} are needed")
    x = images_of(scene.unit, some.x)
    return Lesson(x, as_labels(some.y, module), scene.tried, held, f"{len(some):,} {source}")


def _searched(
    scene: Scene, module: Any, lesson: Lesson, goal: int, context: Context, shard: int
) -> list[Inverted]:
    """The smallest triggers of one class, of every family, as the network is now."""
    own = logits_of(module)
    few = slice(0, 256)

    def logits(x: Any) -> Any:
        return own(scene.back(x))

    return [
        invert(
            logits, lesson.x[few], lesson.y[few], np.array([goal]), family,
            steps=STEPS[context.level], seed=context.derive_seed("unlearn", family, shard),
        )
        for family in FAMILIES
    ]  # fmt: skip


def _unlearned(
    scene: Scene, module: Any, lesson: Lesson, first: list[Inverted], goal: int, rate: float,
    context: Context,
) -> Any:  # fmt: skip
    """A copy of the network that decides images with the triggers as it did without them."""
    network = copy.deepcopy(module)
    own, triggers = logits_of(network), list(first)
    # what the network said, not the labels: a few hundred labels would be learnt by heart
    teacher = logits_of(module)
    with torch.no_grad():
        said = torch.cat([teacher(scene.back(x)).softmax(dim=1) for x in lesson.x.split(256)])
    adam = torch.optim.Adam(trainable(network), lr=rate)
    draw = generator(context.derive_seed("batches"))
    clean = torch.nonzero(lesson.y != goal)[:, 0]
    # normalisation keeps its means: those of images with triggers are not wanted
    network.eval()
    for shard in range(ROUNDS):
        for _ in range(SEEN // BATCH):
            rows = torch.randint(len(lesson.x), (BATCH,), generator=draw).to(clean.device)
            marked = clean[torch.randint(len(clean), (BATCH,), generator=draw).to(clean.device)]
            one = triggers[int(torch.randint(len(triggers), (1,), generator=draw))]
            images = torch.cat([lesson.x[rows], one.on(lesson.x[marked], 0)])
            with torch.enable_grad():
                adam.zero_grad()
                z = own(scene.back(images))
                goals = torch.cat([said[rows], said[marked]])
                torch.nn.functional.cross_entropy(z, goals).backward()
            torch.nn.utils.clip_grad_norm_(adam.param_groups[0]["params"], 5.0)
            adam.step()
        if shard < ROUNDS - 1 and not context.expired:
            triggers += _searched(scene, network, lesson, goal, context, shard + 1)
    return network.eval()


def _outcome(
    scene: Scene, module: Any, lesson: Lesson, triggers: list[Inverted], goal: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which held-out images are decided rightly, and which others no first trigger turns."""
    own = logits_of(module)

    def logits(x: Any) -> Any:
        return own(scene.back(x))

    right = decisions(logits, lesson.held_x) == lesson.held_y.cpu().numpy()
    others = lesson.held_x[lesson.held_y != goal]
    turned = [
        decisions(logits, changed(others, t.mask[0], t.values[0], t.family)) == goal
        for t in triggers
    ]
    return right, ~np.any(turned, axis=0)


def _sentence(named: str, clean: Paired, kept: Paired, lesson: Lesson) -> str:
    return (
        f"the recovered triggers turn {percent(1 - kept.after)} of {kept.n} held-out images to "
        f"class {named} (before {percent(1 - kept.before)}), and accuracy goes from "
        f"{percent(clean.before)} to {percent(clean.after)}, trained on {lesson.source}"
    )
