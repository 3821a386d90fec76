"""What a report says of a target: everything but its rows."""

from __future__ import annotations

import numpy as np

from crenel.run import TargetPart
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
        columns=tuple(f.model_dump(mode="json") for f in schema.features) if schema else (),
        access={
            **subject.access.model_dump(mode="json", exclude_none=True),
            "sentence": subject.access.sentence(),
        },
        accuracy=accuracy(subject),
        notes=subject.notes,
    )


def accuracy(subject: Subject) -> float | None:
    """Accuracy on the test data; R² for a regression; None without model or test data."""
    if subject.model is None or subject.test is None:
        return None
    truth, predicted = subject.test.y, subject.model.predict(subject.test.x)
    if subject.model.task == "classification":
        return float(np.mean(predicted == truth))
    spread = float(np.sum((truth - truth.mean()) ** 2))
    return 1.0 - float(np.sum((truth - predicted) ** 2)) / spread if spread else None
