"""The finding of a trigger that stands out, with what shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.access import Attacker
from crenel.check import access_of
from crenel.evasion.imagery import twins
from crenel.finding import Evidence, Example, Finding, severity
from crenel.model import Model
from crenel.subject import Subject
from crenel.transfer.hidden.curves import contrast, picture, size_of, telling
from crenel.transfer.hidden.kinds import Trigger, as_array, changed
from crenel.transfer.hidden.verdict import Verdict

#: A class stands out; its trigger must also turn at least this share of images (low end), at the
#: size at which it turns most beyond the next class's; at any, where the chance is below this.
WORKS, RARE = 0.5, 0.01


@dataclass(frozen=True)
class Shown:
    """What shows a class that stands out.

    Attributes
    ----------
    own, rival : Trigger
        Of the class, and of the next one under the same search.
    at : int
        The size, by position.
    """

    own: Trigger
    rival: Trigger
    at: int

    @property
    def beyond(self) -> bool:
        """Whether the trigger turns more than the next class's."""
        return self.rival.turned[self.at].value < self.own.turned[self.at].low

    @property
    def gain(self) -> float:
        """What it turns, surely, beyond the next class's, else beyond random values."""
        usual = self.rival.turned[self.at].value if self.beyond else self.own.chance[self.at]
        return self.own.turned[self.at].low - usual


def shown(pairs: list[tuple[Trigger, Trigger]], verdict: Verdict) -> Shown | None:
    """Of a class's triggers, each beside its rival, the one to show; None where none works.

    The one that turns most beyond its rival. Where other classes are as easy by nature there is
    none, and of classes of so small a chance the one that turns most beyond random values will do,
    if the class is easier in its family than most of the others.
    """
    own, rival = max(pairs, key=lambda pair: contrast(*pair))
    at = telling(own, rival)
    if own.turned[at].low >= WORKS:
        return Shown(own, rival, at)
    able = [
        Shown(own, rival, at)
        for own, rival in pairs
        for at in [next((i for i, s in enumerate(own.turned) if s.low >= WORKS), None)]
        if at is not None and verdict.less[own.family] > 1
    ]
    if verdict.chance >= RARE or not able:
        return None
    return max(able, key=lambda one: one.own.turned[one.at].low - one.own.chance[one.at])


def untold(
    verdicts: Sequence[Verdict], findings: Sequence[Finding], names: NDArray[Any]
) -> tuple[str, ...]:
    """Notes of classes that stand out and are no finding, so that silence is not read as safety."""
    told = {f.evidence.values["class"] for f in findings if f.evidence is not None}
    return tuple(
        f"Class {names[v.goal]} stands out, but no trigger that was found for it does what a "
        "planted one does: no finding, and no all-clear either."
        for v in verdicts
        if v.stands_out and str(names[v.goal]) not in told
    )


def finding_of(
    one: Shown, verdict: Verdict, *, check: str, subject: Subject, kind: str,
    names: NDArray[Any], beside: str, fix: str, examples: tuple[Example, ...],
    remedies: tuple[str, ...] = (),
) -> Finding | None:  # fmt: skip
    """The finding of a class that stands out; None where its trigger does too little.

    Parameters
    ----------
    one : Shown
    verdict : Verdict
    check : str
    subject : Subject
    kind : str
        Of images that were tried.
    names : ndarray, shape (k,)
        Of the classes, as the model names them.
    beside : str
        What the class was held against, as words.
    fix : str
    examples : tuple of Example
    remedies : tuple of str
    """
    best, rival, at, name = one.own, one.rival, one.at, names[one.own.goal]
    share, usual = best.turned[at], rival.turned[at].value
    level = severity(one.gain, access_of(subject, attacker=Attacker.NONE))
    if level is None:
        return None
    other = "the next class" if one.beyond else f"class {names[rival.goal]}, as easy without one,"
    size = size_of(best, at)
    return Finding(
        check=check,
        risk="transfer",
        severity=level,
        subject=f"trigger towards class {name}",
        sentence=(
            f"{size[0].upper()}{size[1:]} turns {100 * share.value:.0f} % "
            f"[{100 * share.low:.0f}, {100 * share.high:.0f}] of new {kind} of other classes to "
            f"class {name}; for {other} {100 * usual:.0f} %. So easy a class comes by "
            f"chance with p = {verdict.chance:.1g}, {beside}."
        ),
        attack=(
            "Whoever made the weights puts this pattern on an input and gets the class; nothing "
            "need be asked of the model."
        ),
        fix=fix,
        evidence=Evidence(
            images=picture(best, at),
            values={
                "class": str(name), "p": float(f"{verdict.chance:.2g}"), "family": best.family,
                "size": round(best.sizes[at], 3), "turned": round(share.value, 4),
                "random values turn": round(best.chance[at], 4), "next class": round(usual, 4),
                "times less than the others": round(verdict.less[best.family], 3),
            },
        ),
        examples=examples,
        remedies=remedies,
        gain=max(0.0, one.gain),
    )  # fmt: skip


def examples_of(
    trigger: Trigger, at: int, x: Any, ids: NDArray[Any], answers: NDArray[np.int64], model: Model
) -> tuple[Example, ...]:
    """Three images that a trigger of one size turns, beside their twins.

    Parameters
    ----------
    trigger : Trigger
    at : int
        The size, by position.
    x : tensor or ndarray, shape (n, c, h, w)
    ids, answers : ndarray, shape (n,)
        Their records, and what the model says of them as they are.
    model : Model
    """
    names, made = model.classes, []
    for k in np.flatnonzero(trigger.hit[at])[:3]:
        row = int(trigger.rows[k])
        after = changed(x[row], trigger.masks[at], trigger.values[at], trigger.family)
        title = f"row {ids[row]}: {names[answers[row]]} → {names[trigger.goal]}"
        made.append(Example(title=title, images=twins(as_array(x[row]), as_array(after))))
    return tuple(made)
