"""A declared target, loaded and checked: everything that checks are handed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.adapters.labels import as_labels, index_of
from crenel.adapters.rows import is_frame
from crenel.adapters.trust import normalised
from crenel.data.constraints import loaded
from crenel.data.infer import as_frame, infer_schema
from crenel.data.modelling import distinct, model_columns, target_model, task_of_labels
from crenel.data.sections import digests_of, files_of, load_base, load_learning
from crenel.data.sources import Loaded, load
from crenel.data.validate import check_answers, check_rows, same_columns
from crenel.errors import SubjectError
from crenel.model import Model
from crenel.schema import Schema
from crenel.subject import Data, Images, Subject, join_rows
from crenel.target import Target

#: Rows on which the form of a model's answers is seen.
SAMPLE = 64


def load_target(target: Target, *, root: Path | None = None, scan: bool = True) -> Subject:
    """Load what a target names, and check that it can be audited.

    Parameters
    ----------
    target : Target
    root : Path, optional
        Folder that relative paths and modules are in: that of crenel.toml.
    scan : bool
        False where the files have been scanned already.

    Returns
    -------
    Subject
        ``extra`` holds "digests" of the inputs and "classes", the labels.

    Raises
    ------
    UsageError
        Where a file, a column, a module or a key does not exist.
    Untrusted
        Where the model file's scan is not clean and its digest is not trusted.
    SubjectError
        Where data or model cannot be audited; the sentence says what to do.
    """
    folder = Path(root or ".")
    notes: list[str] = []
    trust = normalised(target.trust)
    parts = _load_parts(target, folder, notes)
    labels = _labels_of(parts)
    model = None
    if target.model is not None:
        sees = {
            "sample": _sample(parts) if parts else _noise(target),
            "labels": labels,
            "notes": notes,
        }
        model = target_model(target, root=folder, trust=trust, scan=scan, **sees)
    parts = {name: _as_model_takes(part, model, name, notes) for name, part in parts.items()}
    classes = _classes(target, model, labels)
    data = {name: _data(part, classes, name) for name, part in parts.items()}
    probe = data.get("test", data.get("train"))
    if model is not None and probe is not None:
        check_answers(model, probe, notes)
    if "train" in data and "test" not in data:
        notes.append(
            "no test data is given: accuracy and attacks are not measured on held-out rows"
        )
    subject = Subject(
        name=target.name,
        access=target.access,
        model=model,
        train=data.get("train"),
        test=data.get("test"),
        schema=_schema(target, data, folder),
        images=_images(target),
        files=files_of(target, folder),
        trusted=trust | normalised(target.base.trust if target.base else ()),
        extra={"digests": digests_of(target, folder), "classes": classes},
    )
    learning = load_learning(target, folder, classes, notes)
    base = load_base(target, folder, scan, notes, _sample(parts))
    return replace(subject, learning=learning, base=base, notes=tuple(dict.fromkeys(notes)))


def _images(target: Target) -> Images | None:
    """What images the model takes, where the user says it."""
    section = target.images
    return None if section is None else Images(section.shape, *section.range)


def _noise(target: Target) -> Any:
    """A few random images to see a model's answers on, where none are given but their shape."""
    images = _images(target)
    return None if images is None else images.noise()


def _load_parts(target: Target, root: Path, notes: list[str]) -> dict[str, Loaded]:
    """The training and test rows that are given, checked for themselves and against each other."""
    parts: dict[str, Loaded] = {}
    for name, given in (("train", target.train), ("test", target.test)):
        if given is None:
            continue
        source = target.source if name == "train" else None
        parts[name] = _load_part(target, name, given, source, root, notes)
        labels = parts[name].labels
        regression = target.task == "regression" or task_of_labels(labels) is not None
        check_rows(parts[name], name, target.label, continuous=regression)
    if len(parts) == 2:
        parts["test"] = same_columns(parts["train"], parts["test"])
    return parts


def _load_part(
    target: Target, name: str, given: Any, source: str | None, root: Path, notes: list[str]
) -> Loaded:
    loaded = load(
        given,
        label=target.label,
        source=source,
        record_id=target.record_id,
        root=root,
        notes=notes,
        name=name,
    )
    if name == "test" and target.source is not None and is_frame(loaded.x):
        # the supplier is not a feature: the test rows may have the column too
        return loaded._replace(x=loaded.x.drop(columns=[target.source], errors="ignore"))
    return loaded


def _labels_of(parts: dict[str, Loaded]) -> NDArray[Any] | None:
    given = [part.labels for part in parts.values() if part.labels is not None]
    if not given:
        return None
    same = len({a.dtype.kind for a in given}) == 1
    return np.concatenate([a if same else a.astype(object) for a in given])


def _sample(parts: dict[str, Loaded]) -> Any:
    part = parts.get("test", parts.get("train"))
    return None if part is None else part.x[:SAMPLE]


def _as_model_takes(part: Loaded, model: Model | None, name: str, notes: list[str]) -> Loaded:
    """Rows as a table with the model's columns only; arrays with more axes as they are."""
    columns = None if model is None else model_columns(model)
    x = part.x
    if not is_frame(x) and x.ndim == 2:
        x = as_frame(x)
        if columns is not None and len(columns) == x.shape[1]:
            x = x.set_axis(columns, axis=1)
    if columns is None or not is_frame(x):
        return part._replace(x=x)
    lacking = [c for c in columns if c not in x.columns and c.replace("_", " ") not in x.columns]
    if lacking:
        raise SubjectError(
            f"the model takes the column {lacking[0]!r}, which {name} does not have "
            f"({len(lacking)} of the model's {len(columns)} columns are missing); "
            "give the data that the model was trained on"
        )
    unused = [c for c in x.columns if c not in columns and str(c).replace(" ", "_") not in columns]
    if unused:
        notes.append(f"columns that the model does not take are left out: {', '.join(unused)}")
        x = x.drop(columns=unused)
    return part._replace(x=x)


def _classes(
    target: Target, model: Model | None, labels: NDArray[Any] | None
) -> NDArray[Any] | None:
    """The labels in the order of their indices; None for regression."""
    if model is not None:
        return model.classes if model.task == "classification" else None
    if target.task == "regression" or labels is None or task_of_labels(labels):
        return None
    return as_labels(distinct(labels) if target.classes is None else target.classes)


def _data(part: Loaded, classes: NDArray[Any] | None, name: str) -> Data:
    labels = part.labels
    assert labels is not None
    if classes is None:
        try:
            y: NDArray[Any] = np.asarray(labels, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise SubjectError(
                f"{name}: the labels of a regression must be numbers; "
                'for classes set task = "classification"'
            ) from error
    else:
        y = index_of(labels, classes)
    return Data(part.x, y, part.ids, part.source)


def _schema(target: Target, data: dict[str, Data], root: Path) -> Schema | None:
    """Inferred from all rows, so that every row given is legal."""
    if not data:
        return None
    rows = join_rows([part.x for part in data.values()])
    return infer_schema(
        rows,
        label=target.label,
        corrections=target.features,
        constraints=loaded(target.constraints, root),
        source=target.source,
        record_id=target.record_id,
    )
