"""Gathers what is known of a base model beside its card."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from crenel.errors import CrenelError, SubjectError
from crenel.model import Model
from crenel.provenance.published import look_up
from crenel.statistics import derive_seed, proportion
from crenel.subject import Base, Data, Subject
from crenel.transfer.artefact import Artefact, artefact_of, configured
from crenel.transfer.bom.reading import bom_beside
from crenel.transfer.bom.verifying import altered
from crenel.transfer.lookalikes import namesake, shipped
from crenel.transfer.papers import claims
from crenel.transfer.papers.card import Card, parse_card, read_card
from crenel.transfer.papers.checklist import licence_text
from crenel.transfer.papers.items import Facts
from crenel.transfer.papers.vouching import vouched

Accuracy: TypeAlias = tuple[float, float, float]
#: Rows on which a claimed accuracy is tried.
ROWS = 2_000


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def card_of(base: Base) -> Card | None:
    """The base model's card; None where none is given.

    Raises
    ------
    SubjectError
        Where the card that is named cannot be read.
    """
    if base.card is None:
        return None
    try:
        return read_card(base.card)
    except OSError as error:
        raise SubjectError(
            f"the model card {base.card} cannot be read: {error.strerror or error}"
        ) from error


def facts_of(subject: Subject, card: Card | None = None) -> Facts:
    """What base, its files and its answers show, so far as the card's claims ask for it."""
    base = subject.base
    assert base is not None
    files = [path for path in base.files if path.is_file()]
    beside = list(
        dict.fromkeys(path.parent for path in (*files, *([base.card] if base.card else [])))
    )
    digests = {path.name: digest(path) for path in files}
    bom, fault = bom_beside(beside, digests.values())
    model = base.model
    data, test = base.data, _test_rows(subject)
    rows = data if data is not None else subject.test
    tried = _accuracy(model, test)
    return Facts(
        origin=base.origin,
        digests=digests,
        task="" if model is None else model.task,
        classes=model.k if model is not None and model.task == "classification" else None,
        accuracy=_accuracy(model, data),
        test_accuracy=tried if model is not None and _same_task(model, tried) else None,
        shape=() if rows is None or rows.is_table else tuple(rows.x.shape[1:]),
        sizes=_sizes(model, rows, card or parse_card("")),
        artefact=_artefact(files, model, beside),
        licence_text=licence_text(beside),
        vouched=vouched(base),
        published=look_up(digests, base.known, base.origin) if base.known and digests else None,
        names=shipped().including(model.origin for model in base.known),
        bom=bom,
        bom_faults=tuple([fault] if fault else []) + (altered(bom) if bom is not None else ()),
    )


def remarks(subject: Subject, facts: Facts) -> list[str]:
    """What is worth a note and no finding: copies of well-known models, published files."""
    base = subject.base
    assert base is not None
    copied = namesake(facts.origin, facts.names)
    notes = []
    if copied is not None:
        notes.append(
            f"{facts.origin} has the name of {copied}, by another publisher: a copy, or another "
            "model"
        )
    files = [path for path in subject.files if path.is_file()] if base.known else []
    found = look_up({path.name: digest(path) for path in files}, base.known).matches
    notes += [f"{file} of the model is published as {own.title}" for file, own in found.items()]
    return notes


def _artefact(files: list[Path], model: Model | None, folders: Iterable[Path]) -> Artefact:
    """The weights' shapes where the model is not loaded; the configuration in any case."""
    if model is None and files:
        return artefact_of(files[0])
    for folder in folders:
        try:
            found = configured(folder)
        except SubjectError:
            continue
        if found != Artefact():
            return found
    return Artefact()


def _test_rows(subject: Subject) -> Data | None:
    """The target's test rows with the base's classes; None where those are not the target's."""
    from crenel.adapters.labels import index_of, same_labels

    own, base, test = subject.model, subject.base, subject.test
    assert base is not None
    if own is None or base.model is None or test is None or own.task != "classification":
        return None
    if not same_labels(own.classes, base.model.classes):
        return None
    return replace(test, y=index_of(own.classes[test.y], base.model.classes))


def _same_task(model: Model, measured: Accuracy | None) -> bool:
    """Whether classes are the same ones: by their names, or by more than chance."""
    if all(isinstance(c, str) and not c.isdigit() for c in model.classes.tolist()):
        return True
    return measured is not None and measured[1] > 2 / max(model.k, 3)


def _accuracy(model: Model | None, data: Data | None) -> Accuracy | None:
    """Share of some rows that a base decides rightly, with its interval; None where it cannot."""
    if model is None or data is None or model.task != "classification" or not len(data):
        return None
    some = np.random.default_rng(derive_seed(0, "accuracy")).permutation(len(data))[:ROWS]
    few = data.take(np.sort(some))
    try:
        right = int((model.predict(few.x) == few.y).sum())
    except (CrenelError, RuntimeError, ValueError, TypeError, KeyError):
        return None  # the base does not take such rows
    p = proportion(right, len(few))
    return p.value, p.low, p.high


def _sizes(model: Model | None, rows: Data | None, card: Card) -> dict[tuple[int, int], bool]:
    """Whether a network takes images of the sizes that the card names."""
    if model is None or model.module is None or rows is None or rows.is_table or rows.x.ndim != 4:
        return {}
    sizes = claims.claimed_sizes(card)
    return {size: _takes(model.module, (rows.x.shape[1], *size)) for size in sizes[:8]}


def _takes(module: Any, shape: tuple[int, ...]) -> bool:
    import torch

    from crenel.evasion.gradients.network import as_tensor

    try:
        with torch.no_grad():
            module(as_tensor(torch.zeros(1, *shape), module))
    except (RuntimeError, ValueError, AssertionError):
        return False
    return True
