"""The remedies that look at inputs: restoration and detectors, each told what it is worth."""

from __future__ import annotations

import copy
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from crenel.check import Context
from crenel.evasion.hardening.adversarial_training import rewrapped
from crenel.evasion.hardening.detection import Detection, detection
from crenel.evasion.hardening.detectors import detectors
from crenel.evasion.hardening.restoration import Guarded, Worth, restorations, worth_of
from crenel.evasion.hardening.scene import COMPARED, Scene
from crenel.evasion.hardening.verdict import MOST_LOST, percent
from crenel.remedy import Treatment
from crenel.subject import Subject

if TYPE_CHECKING:
    from crenel.finding import Finding

#: Share of false alarms that detectors are set to where rows allow, strictest first.
TOLERATED = (0.001, 0.01, 0.05)


def restore_inputs(subject: Subject, finding: Finding | None, context: Context) -> Treatment:
    """Put a restoration before the network where it helps against who knows of it."""
    s = Scene.of(subject, finding, context)
    x, y = s.x[:COMPARED], s.y[:COMPARED]
    found = []
    for restoration in restorations(tuple(x.shape[1:])):
        found.append(worth_of(s.start.unit, restoration, x, y, s.epsilon, context))
        context.progress(len(found) / 4)
    before = _accuracy(s.start.unit, x, y)
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
    native = Guarded(copy.deepcopy(s.model.native), best.restoration, s.scale.low, s.scale.span)
    hardened = rewrapped(s.model, native.eval(), s.train, None, s.scale)
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
    from crenel.evasion.gradients.network import decisions, logits_of, still

    with still(module, 0):
        return float((decisions(logits_of(module), x) == y.cpu().numpy()).mean())


def watch_inputs(subject: Subject, finding: Finding | None, context: Context) -> Treatment:
    """Say what detectors catch, of attackers who do not know of them and of one who does."""
    s = Scene.of(subject, finding, context)
    x, y = s.x[:COMPARED], s.y[:COMPARED]
    clean = s.rows.held_x
    tolerated = next((t for t in TOLERATED if len(clean) * t >= 1), TOLERATED[-1])
    found: list[Detection] = []
    for detector in detectors(s.start.unit, s.rows.x, s.rows.y):
        found.append(
            detection(
                detector, s.start.unit, clean, x, y, epsilon=s.epsilon, tolerated=tolerated,
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
