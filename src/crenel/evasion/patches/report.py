"""EVA-106 measured: patches and universal changes, fit on half the images, tried on the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.access import Access, Attacker
from crenel.check import Context, Measurement, access_of
from crenel.errors import NotApplicable
from crenel.evasion.curves import flip_curve, percent, telling
from crenel.evasion.fields.report import right_rows
from crenel.evasion.gradients.draws import normal, row_keys
from crenel.evasion.gradients.network import generator, logits_of, still, torch
from crenel.evasion.gradients.unit import Unit
from crenel.evasion.imagery import as_image, layout, legal_range, twins
from crenel.evasion.lattice import lattice_of
from crenel.evasion.patches.square import Fitted, fit_patch, placed, side_of
from crenel.evasion.patches.universal import added, fit_universal
from crenel.exposure import Exposure, Health, HealthTest
from crenel.finding import Evidence, Example, Finding, severity
from crenel.model import Model
from crenel.statistics import Interval, proportion
from crenel.subject import Data, Subject

CHECK = "EVA-106"
#: Images at most; half of them are fit on.
ROWS = 200
#: Shares of the area, and L-inf sizes as shares of the range.
AREAS, EPSILONS = (0.01, 0.02, 0.05, 0.1, 0.2), (0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
#: Where a finding is judged: the third of each.
TELLING = 2
#: Gradients for each image of a batch, by level; places tried for each held-out image.
STEPS = {"quick": 30, "standard": 80, "deep": 400}
PLACES = 3


@dataclass(frozen=True)
class Job:
    """Images as channels, height, width in [0, 1], and the model over them."""

    model: Model
    rows: Data
    unit: Unit
    x: Any
    y: Any
    logits: Callable[[Any], Any]
    back: Callable[[Any], Any]
    steps: int
    context: Context

    @property
    def half(self) -> int:
        """Images that attacks are fit on: the first ones."""
        return len(self.y) // 2

    def turned(self, changed: Any, rows: slice) -> NDArray[np.bool_]:
        """Which rows the model, asked as users ask it, decides otherwise."""
        before = np.asarray(self.rows.x)[rows]
        low, span = float(self.unit.low), float(self.unit.span)
        lattice = lattice_of(np.asarray(self.rows.x), low, low + span)
        after = lattice.project(before, low + self.back(changed).cpu().numpy() * span)
        return np.asarray(self.model.predict(after) != self.rows.y[rows])


def measure(subject: Subject, context: Context) -> Measurement:
    """Fit patches and universal changes and try them on images that they were not fit on."""
    model, test = subject.model, subject.test
    assert model is not None
    assert test is not None
    low, high = legal_range(subject)
    rows = right_rows(model, test, ROWS, context.rng("rows"))
    if len(rows) < 4:
        raise NotApplicable("fewer than four test images are decided rightly")
    job = _job(model, rows, Unit.of(model, low, high), context)
    access = access_of(subject, attacker=Attacker.GRADIENTS)
    with still(job.unit.module, context.seed):
        patches = _curve(job, AREAS, _patch)
        context.progress(0.6)
        changes = _curve(job, EPSILONS, _universal)
        context.progress(1.0)
    exposures = (
        _exposure(job, patches, access, "patch", "share of the area",
                  "a patch on {0:.3g} of the image, wherever it lies, flips {1}"),
        _exposure(job, changes, access, "universal", "of the range",
                  "one change of size {0:.3g}, the same for every image, flips {1}"),
    )  # fmt: skip
    found = (_patch_finding(job, patches, access), _universal_finding(job, changes, access))
    note = f"Fit on {job.half} images, measured on {len(rows) - job.half} others."
    return Measurement(exposures, tuple(f for f in found if f is not None), (note,))


def _job(model: Model, rows: Data, unit: Unit, context: Context) -> Job:
    z = torch.from_numpy(np.ascontiguousarray(unit.into(rows.x)))
    device = next((p.device for p in unit.module.parameters()), torch.device("cpu"))
    into, back = layout(z.shape)
    own = logits_of(unit.module)
    return Job(
        model, rows, unit, into(z).to(device), torch.from_numpy(np.asarray(rows.y)).to(device),
        lambda x: own(back(x)), back, STEPS[context.level], context,
    )  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """One fitted change and what it does to the held-out images.

    Attributes
    ----------
    fitted : Fitted
    share : float
        Of held-out images and places that are turned.
    chance : float
        The same of a random change of the same size.
    shown : tensor
        Held-out images as last changed.
    turned : ndarray of bool, shape (m,)
        Which of them are turned there.
    """

    fitted: Fitted
    share: float
    chance: float
    shown: Any
    turned: NDArray[np.bool_]


@dataclass(frozen=True)
class Curve:
    """Trials over budgets, and one without limit."""

    budgets: tuple[float, ...]
    trials: tuple[Trial, ...]
    unlimited: Trial
    n: int

    @property
    def harms(self) -> list[Interval]:
        """Flipped within each budget: who may spend more may also spend less."""
        best = np.maximum.accumulate([t.share for t in self.trials])
        return [proportion(round(b * self.n), self.n) for b in best]

    @property
    def gradients(self) -> int:
        """Rows sent forward and backward."""
        return sum(t.fitted.gradients for t in (*self.trials, self.unlimited))


def _curve(job: Job, budgets: tuple[float, ...], trial: Callable[[Job, float], Trial]) -> Curve:
    done = [trial(job, budgets[0])]
    for budget in budgets[1:]:
        if job.context.expired:
            break
        done.append(trial(job, budget))
    return Curve(budgets[: len(done)], tuple(done), trial(job, 1.0), len(job.y) - job.half)


def _patch(job: Job, area: float) -> Trial:
    side = side_of(area, *job.x.shape[2:])
    half, seed = job.half, job.context.derive_seed("patch", area)
    fitted = fit_patch(job.logits, job.x[:half], job.y[:half], side, steps=job.steps, seed=seed)
    noise = torch.rand(fitted.values.shape, generator=generator(seed + 2)).to(job.x)
    shares, chances = [], []
    rest = slice(half, len(job.y))
    keys = row_keys(job.x[rest], seed + 3)
    for place in range(PLACES):
        shown = placed(job.x[rest], fitted.values, keys, place)
        turned = job.turned(shown, rest)
        shares.append(turned.mean())
        chances.append(job.turned(placed(job.x[rest], noise, keys, place), rest).mean())
    return Trial(fitted, float(np.mean(shares)), float(np.mean(chances)), shown, turned)


def _universal(job: Job, epsilon: float) -> Trial:
    half, seed = job.half, job.context.derive_seed("universal", epsilon)
    fitted = fit_universal(
        job.logits, job.x[:half], job.y[:half], epsilon, steps=job.steps, seed=seed
    )
    rest = slice(half, len(job.y))
    keys = row_keys(job.x[:1], seed + 2)
    noise = normal(keys, job.x[0].numel(), 0).sign().reshape(job.x.shape[1:]) * epsilon
    shown = added(job.x[rest], fitted.values)
    turned = job.turned(shown, rest)
    chance = job.turned(added(job.x[rest], noise), rest).mean()
    return Trial(fitted, float(turned.mean()), float(chance), shown, turned)


def _health(job: Job, c: Curve) -> Health:
    rose = sum(t.fitted.end > t.fitted.start for t in c.trials)
    shares = [t.share for t in c.trials]
    drop = max(np.maximum.accumulate(shares) - shares)
    # with no limit every image becomes the same one, so that only one class can still be right
    most = 1 - np.bincount(job.rows.y[job.half :]).max() / c.n
    chance = max(t.chance - t.share for t in c.trials)
    tests = [
        HealthTest(
            name="the attack's loss rose", ok=rose == len(c.trials),
            detail=f"in {rose} of {len(c.trials)} fits",
        ),
        HealthTest(
            name="a larger budget does no less harm", ok=bool(drop <= 0.1),
            detail=f"at most {100 * drop:.0f} points less",
        ),
        HealthTest(
            name="a random change does no more", ok=bool(chance <= 0.05),
            detail=f"at most {100 * max(0.0, chance):.0f} points more",
        ),
        HealthTest(
            name="without limit all that can fall falls", ok=bool(c.unlimited.share >= most - 0.02),
            detail=f"{c.unlimited.share:.0%}; one class of {1 - most:.0%} may stand",
        ),
    ]  # fmt: skip
    if len(c.trials) < len(AREAS):
        tests.append(HealthTest(name="all budgets were tried", ok=False, detail="time ran out"))
    return Health.of(*tests)


def _exposure(job: Job, c: Curve, access: Access, series: str, unit: str, words: str) -> Exposure:
    harms = c.harms
    i = telling(harms)
    name = "patch area" if series == "patch" else "L-inf distance"
    return flip_curve(
        check=CHECK, name=name, unit=unit, budgets=c.budgets, shares=harms, n=c.n, access=access,
        seed=job.context.seed, health=_health(job, c), series=series, queries=c.gradients,
        seconds=job.context.elapsed, scale="log",
        headline=words.format(c.budgets[i], percent(harms[i])) + " of decisions on new images",
    )  # fmt: skip


def _patch_finding(job: Job, c: Curve, access: Access) -> Finding | None:
    return _finding(
        job, c, access, "decisions under a patch",
        "A patch on {0:.3g} % of the image flips {1} of correct decisions, wherever it lies, on "
        "images that it was not made for.",
        "Print the patch and put it into the scene: no access to the input is needed.",
        "Train with patches, or let decisions rest on many places of the image (masking, voting).",
    )  # fmt: skip


def _universal_finding(job: Job, c: Curve, access: Access) -> Finding | None:
    return _finding(
        job, c, access, "decisions under one universal change",
        "One change of at most {0:.3g} % of the range, the same for every image, flips {1} of "
        "correct decisions on images that it was not made for.",
        "Compute the change once and add it to every input, on a lens or in a driver.",
        "Train on adversarial examples, then measure again with this attacker.",
    )  # fmt: skip


def _finding(
    job: Job, c: Curve, access: Access, subject: str, sentence: str, attack: str, fix: str
) -> Finding | None:
    i = min(TELLING, len(c.trials) - 1)
    share = c.harms[i]
    level = severity(share.low, access)
    if level is None:
        return None
    best = max(c.trials[: i + 1], key=lambda t: t.share)
    hit = np.flatnonzero(best.turned)
    examples = tuple(_example(job, best, int(k)) for k in hit[:3])
    return Finding(
        check=CHECK, risk="evasion", severity=level, subject=subject,
        sentence=sentence.format(100 * c.budgets[i], percent(share)), attack=attack, fix=fix,
        evidence=Evidence(
            rows=job.rows.names(job.half + hit[:20]), images=picture_of(best.fitted.values),
            values={"flipped": round(share.value, 4), "budget": c.budgets[i]},
        ),
        examples=examples, remedies=("adversarial-training",), gain=share.low,
    )  # fmt: skip


def picture_of(values: Any) -> tuple[str, ...]:
    """A patch as it is; a change, which may be negative, magnified about grey."""
    from crenel.data.png import data_uri

    v = values.cpu().numpy()
    if v.min() < 0:
        v = 0.5 + 0.5 * v / max(float(np.abs(v).max()), 1e-12)
    image = as_image(v)
    return () if image is None else (data_uri(image),)


def _example(job: Job, t: Trial, k: int) -> Example:
    row = job.half + k
    names = job.model.classes
    title = f"row {job.rows.ids[row]}: {names[job.rows.y[row]]!s} → another class"
    return Example(title=title, images=twins(job.x[row].cpu().numpy(), t.shown[k].cpu().numpy()))
