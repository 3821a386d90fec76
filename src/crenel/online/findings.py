"""Findings of what it takes: bursts, shares, flips and broken samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crenel.access import Attacker
from crenel.check import access_of
from crenel.exposure import Exposure
from crenel.finding import Evidence, Example, Finding, severity
from crenel.online.curves import burst_cheapness, share_cheapness, share_name, worst_point
from crenel.statistics import proportion

if TYPE_CHECKING:
    from crenel.online.brittle import Broken
    from crenel.online.checks import Setting
    from crenel.online.takes import Turning

_LIMIT_INFLUENCE = (
    "Limit what one source may add to the stream, refuse repeated near copies, clip each step or "
    "average the weights, and test protected decisions before an update goes live."
)


def findings_of(
    s: Setting,
    turnings: list[Turning],
    burst: Exposure,
    share: Exposure,
    flips: Exposure,
    broken: list[Broken],
) -> list[Finding]:
    """Return the findings whose severity is at least low."""
    found = [
        _burst_finding(s, turnings, burst),
        _share_finding(s, turnings, share),
        _flip_finding(flips),
        _broken_finding(s, broken),
    ]
    return [f for f in found if f is not None]


def _burst_finding(s: Setting, turnings: list[Turning], burst: Exposure) -> Finding | None:
    at, level = worst_point(burst, burst_cheapness)
    if level is None:
        return None
    samples = int(burst.budget.values[at])
    turned = [t for t in turnings if t.burst.count is not None and t.burst.count <= samples]
    return Finding(
        check="ONL-101",
        risk="online",
        severity=level,
        subject="burst of samples",
        sentence=(
            f"A burst of {samples:,} sample{'' if samples == 1 else 's'} turns {len(turned)} of "
            f"{burst.n} chosen decisions, each of them right before."
        ),
        attack=(
            "Send wrongly labelled copies, or near copies, of the record in a row, then let it be "
            "decided before honest traffic heals the model."
        ),
        fix=_LIMIT_INFLUENCE,
        evidence=_evidence(s, turned, {t.behaviour.name: t.burst.count for t in turnings}),
        examples=tuple(_example(s, t) for t in turned[:3]),
        gain=burst.harm.values[at],
    )


def _share_finding(s: Setting, turnings: list[Turning], share: Exposure) -> Finding | None:
    at, level = worst_point(share, share_cheapness)
    if level is None:
        return None
    amount = share_name(share.budget.values[at])
    turned = round(share.harm.values[at] * share.n)
    return Finding(
        check="ONL-101",
        risk="online",
        severity=level,
        subject="share of the stream",
        sentence=(
            f"Who supplies {amount} of the stream keeps {turned} of {share.n} chosen decisions "
            "turned against honest traffic."
        ),
        attack="Keep sending wrongly labelled copies of the record, evenly among honest samples.",
        fix=_LIMIT_INFLUENCE,
        evidence=_evidence(s, turnings[: share.n], {"share": share.budget.values[at]}),
        gain=share.harm.values[at],
    )


def _flip_finding(flips: Exposure) -> Finding | None:
    at, level = worst_point(flips, share_cheapness)
    if level is None:
        return None
    amount = share_name(flips.budget.values[at])
    return Finding(
        check="ONL-101",
        risk="online",
        severity=level,
        subject="flipped labels in the stream",
        sentence=(
            f"Randomly flipped labels on {amount} of the stream lose "
            f"{100 * flips.harm.values[at]:.0f} % of the right decisions."
        ),
        attack="Give wrong labels to ordinary records, without aiming at any.",
        fix="Lower the learning rate, clip steps, average weights, and audit labels by source.",
        evidence=Evidence(values={"share": flips.budget.values[at], "rows": flips.n}),
        gain=flips.harm.values[at],
    )


def _broken_finding(s: Setting, fed: list[Broken]) -> Finding | None:
    """Broken samples; judged by what is lost for good, after honest samples have followed."""
    access = access_of(s.subject, attacker=Attacker.DATA)
    # Less than a tenth is what any one odd sample may shift.
    harmful = [b for b in fed if _lost(b) >= 0.1]
    if not harmful:
        return None
    worst = max(harmful, key=_lost)
    n = int(worst.clean.sum())
    level = severity(proportion(_lost(worst) * n, n).low, access)
    if level is None:
        return None
    names = " or ".join(b.value for b in harmful)
    before, later = 100 * worst.before.mean(), 100 * worst.later.mean()
    return Finding(
        check="ONL-101",
        risk="online",
        severity=level,
        subject="broken sample",
        sentence=(
            f"One sample with {names} destroys the learner: accuracy from {before:.0f} % to "
            f"{later:.0f} %, 50 honest samples later."
        ),
        attack=f"Send one record whose numbers are {names}; it need not be hostile, only broken.",
        fix=(
            "Refuse samples that are not finite or lie outside the range of trusted data before "
            "any part of the model, scalers too, learns them."
        ),
        evidence=Evidence(values={b.value: _figures(b) for b in fed}),
        gain=_lost(worst),
    )


def _lost(b: Broken) -> float:
    """Share of the decisions that are right without the broken sample and wrong with it."""
    return float((b.clean & ~b.later).sum() / max(1, b.clean.sum()))


def _figures(b: Broken) -> dict[str, object]:
    return {
        "accuracy before": float(b.before.mean()),
        "accuracy after": float(b.after.mean()),
        "accuracy after honest samples": float(b.later.mean()),
        "accuracy without it": float(b.clean.mean()),
        "held-out rows": len(b.clean),
        "refused": b.refused,
    }


def _evidence(s: Setting, turnings: list[Turning], values: dict[str, object]) -> Evidence:
    rows = [i for t in turnings for i in t.behaviour.rows.tolist()][:50]
    ids = tuple(i if isinstance(i, int) else str(i) for i in s.scene.ids[rows].tolist())
    return Evidence(rows=ids, values=values)


def _example(s: Setting, t: Turning) -> Example:
    model = s.subject.model
    known = model is not None and len(model.classes) == s.scene.k
    names = [str(c) for c in model.classes] if model is not None and known else None
    own, aim = int(s.scene.y[t.behaviour.rows[0]]), int(t.behaviour.aim[0])
    words = (names[own], names[aim]) if names else (f"class {own}", f"class {aim}")
    healed = "" if t.still is None or t.still[-1] else ", healed by later honest samples"
    count = t.burst.count or 0
    kind = t.attack.removesuffix("ies") + ("y" if count == 1 else "ies")
    return Example(
        title=f"{t.behaviour.name}: {words[0]} → {words[1]}",
        text=f"turned by {count:,} {kind} labelled {words[1]}{healed}",
    )
