"""What papers say of a model against each other and against the model: only where both speak."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations

from crenel.finding import Severity
from crenel.transfer.papers import claims
from crenel.transfer.papers.card import Card
from crenel.transfer.papers.items import Facts, Item, State
from crenel.transfer.papers.results import Claim, claimed_accuracies

#: A claim was made on other rows: so much beside the interval is not held against it.
TOLERANCE = 0.02
_FIX = "Do not rely on these papers; find out which model they describe."
#: What tasks decide, by words in their names; tasks of other names contradict nothing.
_KINDS = {
    "detection": "detection", "segmentation": "segmentation", "speech-recognition": "speech",
    "regression": "regression", "classification": "classification",
}  # fmt: skip
_MODALITIES = ("image", "text", "token", "audio", "video", "tabular")


def contradictions(card: Card, facts: Facts) -> Iterator[Item]:
    """Items for every claim that can be held against something."""
    yield from _classes(card, facts)
    yield from _labels(facts)
    yield from _task(card, facts)
    yield from _size(facts)
    yield from _accuracy(card, facts)
    yield from _base(card, facts)
    yield from _bom(facts)


def _item(name: str, holds: bool, detail: str, wrong: Severity = Severity.HIGH) -> Item:
    state = State.PRESENT if holds else State.CONTRADICTED
    return Item(name, state, detail, _FIX, wrong, wrong)


def _classes(card: Card, facts: Facts) -> Iterator[Item]:
    claimed = claims.claimed_classes(card)
    if claimed is not None and facts.classes:
        detail = f"the card speaks of {claimed} classes, the model has {facts.classes}"
        yield _item("number of classes", claimed == facts.classes, detail)


def _labels(facts: Facts) -> Iterator[Item]:
    """Labels in the configuration against the outputs."""
    named = len(facts.artefact.labels)
    outputs = (facts.classes,) if facts.classes else facts.artefact.heads
    # One output may stand for two classes.
    if named and outputs and not (named == 2 and 1 in outputs):
        many = " or ".join(map(str, outputs))
        detail = f"the configuration names {named} labels, the model has {many} outputs"
        yield _item("labels", named in outputs, detail)


def _task(card: Card, facts: Facts) -> Iterator[Item]:
    told = [
        ("the card", t) for t in (claims.claimed_tasks(card))
    ] + [
        ("the bill of materials", facts.bom.task if facts.bom else ""),
        ("the configuration", facts.artefact.task),
        ("the model", facts.task),
    ]  # fmt: skip
    told = [(who, task) for who, task in told if task]
    clashes = [(a, b) for a, b in combinations(told, 2) if a[0] != b[0] and _differ(a[1], b[1])]
    if clashes:
        (one, first), (other, second) = clashes[0]
        yield _item("task", False, f"{one} says {first}, {other} {_says(other)} {second}")
    elif len({who for who, _ in told}) > 1:
        yield _item("task", True, f"the task is {told[0][1]}")


def _says(who: str) -> str:
    return "does" if who == "the model" else "says"


def _differ(one: str, other: str) -> bool:
    """Whether two tasks cannot be the same one."""
    (mode, kind), (other_mode, other_kind) = _parts(one), _parts(other)
    if not kind or not other_kind:
        return False
    # A loaded model is known to classify or not, whatever its classes stand for.
    if "" in (mode, other_mode) and not {kind, other_kind} <= {"classification", "regression"}:
        return False
    return kind != other_kind or bool(mode and other_mode and mode != other_mode)


def _parts(task: str) -> tuple[str, str]:
    words = re.sub(r"[\s_]+", "-", task.strip().lower())
    kind = next((k for word, k in _KINDS.items() if word in words), "")
    mode = next((m for m in _MODALITIES if words.startswith(m)), "")
    return ("", "") if words.startswith("zero-shot") else (mode, kind)


def _size(facts: Facts) -> Iterator[Item]:
    """Image sizes that the card names, against those that the model takes."""
    if not facts.sizes:
        return
    named = ", ".join(f"{h} × {w}" for h, w in facts.sizes)
    taken = f"it takes rows of shape {facts.shape}" if facts.shape else "it takes other sizes"
    holds = any(facts.sizes.values())
    detail = f"the card says that inputs are {named}, and the model takes "
    detail += "them" if holds else f"none such: {taken}"
    yield _item("input size", holds, detail, Severity.MEDIUM)


def _accuracy(card: Card, facts: Facts) -> Iterator[Item]:
    said = claimed_accuracies(card)
    if not said:
        return
    if facts.accuracy is not None:
        yield _held("accuracy", said, facts.accuracy, "the public data given", Severity.HIGH)
    if facts.test_accuracy is not None:
        rows = "the target's test rows"
        item = _held("accuracy on test rows", said, facts.test_accuracy, rows, Severity.MEDIUM)
        most = max(c.share + c.rounding for c in said)
        value, low, _ = facts.test_accuracy
        if most < low - TOLERANCE:
            detail = (
                f"the card claims accuracy {most:.3g} at most, and {rows} are decided rightly by "
                f"{value:.3g}: it describes another model, or they were trained on"
            )
            item = _item("accuracy on test rows", False, detail, Severity.LOW)
        yield item


def _held(
    name: str, said: list[Claim], measured: tuple[float, float, float], rows: str, wrong: Severity
) -> Item:
    """Claims against one measurement: it must agree with those on one of the data sets named."""
    value, low, high = measured
    highest: dict[str, Claim] = {}
    for claim in said:
        known = highest.get(claim.dataset)
        if known is None or claim.share > known.share:
            highest[claim.dataset] = claim
    claim = min(highest.values(), key=lambda c: c.share)
    holds = claim.share - claim.rounding <= high + TOLERANCE
    data = f" ({claim.dataset})" if claim.dataset else ""
    detail = (
        f"the card claims accuracy {claim.share:.3g}{data} in {claim.where}; on {rows} it is "
        f"{value:.3g} [{low:.3g}, {high:.3g}]"
    )
    return _item(name, holds, detail, wrong)


def _base(card: Card, facts: Facts) -> Iterator[Item]:
    """The base that the card names, against that in the bill of materials."""
    carded = claims.claimed_bases(card)
    listed = facts.bom.bases if facts.bom is not None else ()
    if carded and listed:
        holds = bool({_short(b) for b in carded} & {_short(b) for b in listed})
        detail = f"the card names the base {carded[0]}, the bill of materials {listed[0]}"
        yield _item("base of the base", holds, detail)


def _short(name: str) -> str:
    """The last part of a model's name, without its revision."""
    last = name.partition("@")[0].rstrip("/").rpartition("/")[2]
    return re.sub(r"[\s_]+", "-", last.lower())


def _bom(facts: Facts) -> Iterator[Item]:
    """The bill of materials, where there is one."""
    if facts.bom_faults:
        more = len(facts.bom_faults) - 1
        others = f" (and {more} more)" if more else ""
        yield _item("bill of materials", False, f"{facts.bom_faults[0]}{others}")
    elif facts.bom is not None:
        detail = f"{facts.bom.path.name} lists the digests of {len(facts.bom.digests)} files"
        yield _item("bill of materials", True, detail)
