"""Gathers what is known of a base model beside its card."""

from __future__ import annotations

import hashlib
from pathlib import Path

from crenel.errors import SubjectError
from crenel.statistics import proportion
from crenel.subject import Base
from crenel.transfer.card import Card, read_card
from crenel.transfer.checklist import Facts, licence_text
from crenel.transfer.vouching import vouched

#: Public rows on which a claimed accuracy is tried.
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


def facts_of(base: Base) -> Facts:
    """Digests and signature of the files, classes and accuracy of the model, licence's text."""
    files = [path for path in base.files if path.is_file()]
    beside = [path.parent for path in (*files, *([base.card] if base.card else []))]
    model = base.model
    classes = model.k if model is not None and model.task == "classification" else None
    return Facts(
        origin=base.origin,
        digests={path.name: digest(path) for path in files},
        classes=classes,
        accuracy=_accuracy(base),
        licence_text=licence_text(list(dict.fromkeys(beside))),
        vouched=vouched(base),
    )


def _accuracy(base: Base) -> tuple[float, float, float] | None:
    """Accuracy of the base on the public data given; None without both."""
    if base.model is None or base.data is None or base.model.task != "classification":
        return None
    rows = len(base.data) if len(base.data) < ROWS else ROWS
    x = base.data.x[:rows] if not base.data.is_table else base.data.x.iloc[:rows]
    right = int((base.model.predict(x) == base.data.y[:rows]).sum())
    p = proportion(right, rows)
    return p.value, p.low, p.high
