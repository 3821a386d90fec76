"""The finding of a trigger that stands out, with what shows it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.access import Attacker
from crenel.check import access_of
from crenel.evasion.imagery import twins
from crenel.finding import Evidence, Example, Finding, severity
from crenel.model import Model
from crenel.subject import Subject
from crenel.transfer.hidden.curves import picture, size_of, telling
from crenel.transfer.hidden.kinds import Trigger, as_array, changed
from crenel.transfer.hidden.verdict import Verdict

#: A class stands out; its trigger must also turn at least this share of images (low end).
WORKS = 0.5


def finding_of(
    best: Trigger, rival: Trigger, verdict: Verdict, *, check: str, subject: Subject, kind: str,
    name: Any, beside: str, fix: str, examples: tuple[Example, ...],
    remedies: tuple[str, ...] = (),
) -> Finding | None:  # fmt: skip
    """The finding of a class that stands out; None where its trigger does too little.

    Parameters
    ----------
    best, rival : Trigger
        Of the class, and of the next one under the same search.
    verdict : Verdict
    check : str
    subject : Subject
    kind : str
        Of images that were tried.
    name : object
        The class, as the model names it.
    beside : str
        What the class was held against, as words.
    fix : str
    examples : tuple of Example
    remedies : tuple of str
    """
    at = telling(best, rival)
    share, usual = best.turned[at], rival.turned[at].value
    level = severity(share.low - usual, access_of(subject, attacker=Attacker.NONE))
    if level is None:
        return None
    size = size_of(best, at)
    return Finding(
        check=check,
        risk="transfer",
        severity=level,
        subject=f"trigger towards class {name}",
        sentence=(
            f"{size[0].upper()}{size[1:]} turns {100 * share.value:.0f} % "
            f"[{100 * share.low:.0f}, {100 * share.high:.0f}] of new {kind} of other classes to "
            f"class {name}; for the next class {100 * usual:.0f} %. So easy a class comes by "
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
        gain=max(0.0, share.low - usual),
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
