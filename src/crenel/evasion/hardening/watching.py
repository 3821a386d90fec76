"""The remedies that look at inputs: restoration and detectors, each told what it is worth."""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from crenel.check import Context
from crenel.evasion.hardening.adversarial_training import (
    COMPARED,
    Start,
    rewrapped,
    sampled,
    split,
    telling_radius,
)
from crenel.evasion.hardening.detection import Detection, detection
from crenel.evasion.hardening.detectors import detectors
from crenel.evasion.hardening.restoration import Guarded, Worth, restorations, worth_of
from crenel.evasion.hardening.scale import Scale
from crenel.evasion.hardening.verdict import MOST_LOST, percent
from crenel.remedy import Treatment
from crenel.subject import Subject

if TYPE_CHECKING:
    from crenel.finding import Finding

#: Share of false alarms that detectors are set to where rows allow, strictest first.
TOLERATED = (0.001, 0.01, 0.05)


@dataclass(frozen=True)
class _Scene:
    """A network over rows in [0, 1], rows to attack and rows to set thresholds on."""

    start: Start
    scale: Scale
    rows: Any
    x: Any
    y: Any
    epsilon: float


def _scene(subject: Subject, finding: Finding | None, context: Context) -> _Scene:
    model, train = subject.model, subject.train
    assert model is not None
    assert train is not None
    scale = Scale.of(subject)
    start = Start.of(model, scale)
    rows = split(model, train, scale, context.derive_seed("split"))
    x, y = rows.held_x, rows.held_y
    if subject.test is not None:
        x, y = sampled(model, subject.test, scale, context.derive_seed("compare"))
    epsilon = telling_radius(start.unit, x, y, finding, context)
    return _Scene(start, scale, rows, x[:COMPARED], y[:COMPARED], epsilon)


def restore_inputs(subject: Subject, finding: Finding | None, context: Context) -> Treatment:
    """Put a restoration before the network where it helps against who knows of it."""
    model, train = subject.model, subject.train
    assert model is not None
    assert train is not None
    s = _scene(subject, finding, context)
    found = []
    for restoration in restorations(tuple(s.x.shape[1:])):
        found.append(worth_of(s.start.unit, restoration, s.x, s.y, s.epsilon, context))
        context.progress(len(found) / 4)
    before = _accuracy(s.start.unit, s.x, s.y)
    fine = [w for w in found if w.holds and w.clean >= before - MOST_LOST]
    best = max(fine or found, key=lambda w: (w.aware, w.clean))
    values = {
        "epsilon": s.epsilon, "accuracy_before": before, "accuracy_after": best.clean,
        "robust_before": best.bare, "robust_after": best.aware, "robust_unaware": best.unaware,
    }  # fmt: skip
    if not fine:
        return Treatment(
            subject=subject,
            sentence=f"nothing was changed: of {len(found)} restorations none helps against an "
            f"attacker who knows of it at an accuracy worth having ({_told(best, s.epsilon)})",
            values=values, tables={"restorations": _table(found)},
        )  # fmt: skip
    native = Guarded(copy.deepcopy(model.native), best.restoration, s.scale.low, s.scale.span)
    hardened = rewrapped(model, native.eval(), train, None, s.scale)
    return Treatment(
        subject=subject.with_model(hardened), sentence=_told(best, s.epsilon), values=values,
        model=hardened.native, tables={"restorations": _table(found)},
    )  # fmt: skip


def _told(w: Worth, epsilon: float) -> str:
    return (
        f"{w.restoration}: at {100 * epsilon:.3g} % of the range {percent(w.aware)} of rows stand "
        f"against an attacker who knows of it (before {percent(w.bare)}; {percent(w.unaware)} "
        f"against one who does not), with {percent(w.clean)} of clean rows right"
    )


def _accuracy(module: Any, x: Any, y: Any) -> float:
    from crenel.evasion.network import decisions, logits_of, still

    with still(module, 0):
        return float((decisions(logits_of(module), x) == y.cpu().numpy()).mean())


def watch_inputs(subject: Subject, finding: Finding | None, context: Context) -> Treatment:
    """Say what detectors catch, of attackers who do not know of them and of one who does."""
    s = _scene(subject, finding, context)
    clean = s.rows.held_x
    tolerated = next((t for t in TOLERATED if len(clean) * t >= 1), TOLERATED[-1])
    found: list[Detection] = []
    for detector in detectors(s.start.unit, s.rows.x, s.rows.y):
        found.append(
            detection(
                detector, s.start.unit, clean, s.x, s.y, epsilon=s.epsilon, tolerated=tolerated,
                seed=context.derive_seed("detector", detector.name),
            )
        )  # fmt: skip
        context.progress(len(found) / 4)
    best = max(found, key=lambda d: (d.aware if d.aware == d.aware else -1.0, d.unaware))
    standing = [d.name for d in found if not d.falls]
    verdict = (
        f"only {', '.join(standing)} may stand watch"
        if standing
        else "none of them is a fix: they are signals for who watches, and no more"
    )
    return Treatment(
        subject=subject,
        sentence=f"the model is left as it is; of {len(found)} detectors at "
        f"{percent(tolerated)} false alarms the best, {best.name}, catches "
        f"{percent(best.unaware)} of attacks that do not know of it and {percent(best.aware)} of "
        f"those that do; {verdict}",
        values={
            "epsilon": s.epsilon, "tolerated": tolerated, "caught_unaware": best.unaware,
            "caught_aware": best.aware,
        },
        tables={"detectors": _table(found)},
    )  # fmt: skip


def _table(found: Any) -> Any:
    """One row for each, its fields as columns."""
    import pandas as pd

    rows = [{f.name: getattr(one, f.name) for f in fields(one)} for one in found]
    return pd.DataFrame(
        [{k: str(v) if k == "restoration" else v for k, v in r.items()} for r in rows]
    )
