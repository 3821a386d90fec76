"""What a report says of a target: everything but its rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from crenel.run import TargetPart
from crenel.schema import Feature
from crenel.subject import Subject


def describe(subject: Subject) -> TargetPart:
    """Describe a loaded target."""
    model, schema = subject.model, subject.schema
    return TargetPart(
        name=subject.name,
        model=model.description if model else "",
        framework=model.framework if model else "",
        task=model.task if model else "",
        classes=tuple(str(c) for c in model.classes) if model else (),
        train_rows=None if subject.train is None else len(subject.train),
        test_rows=None if subject.test is None else len(subject.test),
        columns=tuple(_column(f) for f in schema.features) if schema else (),
        access={
            **subject.access.model_dump(mode="json", exclude_none=True),
            "sentence": subject.access.sentence(),
        },
        accuracy=accuracy(subject),
        notes=subject.notes,
    )


def _column(feature: Feature) -> dict[str, Any]:
    """What the schema says of a column; of a sensitive one not which values occur."""
    told = feature.model_dump(mode="json")
    return {**told, "values": [], "min": None, "max": None} if feature.sensitive else told


def accuracy(subject: Subject) -> float | None:
    """Accuracy on the test data; R² for a regression; None without model or test data."""
    if subject.model is None or subject.test is None:
        return None
    truth, predicted = subject.test.y, subject.model.predict(subject.test.x)
    if subject.model.task == "classification":
        return float(np.mean(predicted == truth))
    spread = float(np.sum((truth - truth.mean()) ** 2))
    return 1.0 - float(np.sum((truth - predicted) ** 2)) / spread if spread else None
