"""Look at a model file and its training data, without loading the model in this process."""

from __future__ import annotations

import tempfile
from os.path import relpath
from pathlib import Path
from typing import Any

from crenel.auditor.isolation import Worker
from crenel.auditor.suggest import Columns, Suggestion, guess_columns, sibling_test
from crenel.errors import CrenelError, UsageError
from crenel.schema import Schema
from crenel.target import Target

#: Rows read to infer the schema.
ROWS = 200_000


def suggest(
    model: Path | None,
    train: Path | None,
    *,
    test: Path | None = None,
    label: str | None = None,
    folder: Path = Path(),
) -> Suggestion:
    """Infer a configuration.

    Parameters
    ----------
    model : Path or None
        Looked at in a worker process, and only where its scan is clean.
    train : Path or None
        A table, NPZ with the arrays x and y, or a folder of images; None where nobody has it.
    test : Path or None
        The same; by default the file beside ``train`` with "test" in its name.
    label : str or None
        The label's column, where the guess is wrong.
    folder : Path
        Where the configuration will be: paths are relative to it.

    Raises
    ------
    UsageError
        Where a file is missing, neither data is given, or no column can be the label.
    """
    for path in (model, train, test):
        if path is not None and not path.exists():
            raise UsageError(f"there is no file {path}")
    trust, seen = (None, {}) if model is None else _look(model)
    looked_at = train or test
    if looked_at is None:
        raise UsageError("neither training data nor test data is given")
    if looked_at.is_dir() or looked_at.suffix.lower() in (".npz", ".npy"):
        columns, schema = _of_arrays(looked_at, label)
    else:
        columns, schema = _of_table(looked_at, label, seen)
    beside = test or sibling_test(looked_at)
    return Suggestion(
        name=(model or looked_at).stem,
        model=None if model is None else _relative(model, folder),
        train=None if train is None else _relative(train, folder),
        test=None if beside is None else _relative(beside, folder),
        columns=columns,
        schema=schema,
        trust=trust,
    )


def _of_table(path: Path, label: str | None, seen: dict[str, Any]) -> tuple[Columns, Schema]:
    from crenel.data import infer_schema, load_table

    frame = load_table(path, max_rows=ROWS)
    if label is not None and label not in frame.columns:
        raise UsageError(f"{path} has no column {label!r}; it has {', '.join(frame.columns)}")
    columns = guess_columns(frame, seen.get("features"), seen.get("classes"))
    if label is not None:
        columns = Columns(label, columns.source, columns.record_id, "as you said")
    schema = infer_schema(
        frame, label=columns.label, source=columns.source, record_id=columns.record_id
    )
    return columns, schema


def _of_arrays(path: Path, label: str | None) -> tuple[None, Schema]:
    """Arrays and folders of images hold their labels themselves, so that no column is named."""
    from crenel.data import infer_schema, load

    if label is not None:
        raise UsageError(f"{path} is no table and holds its labels itself: leave --label out")
    return None, infer_schema(load(path, name="train").x)


def _look(model: Path) -> tuple[str | None, dict[str, Any]]:
    """The digest to trust where the scan is not clean; what the model knows where it is."""
    from crenel.scan import scan_file

    result = scan_file(model)
    if result.verdict != "clean":
        digest = result.sha256
        return digest if digest.startswith("sha256:") else f"sha256:{digest}", {}
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker(
            Target(name="model", model=str(model.resolve())), Path(), Path(folder) / "log"
        )
        try:
            return None, worker.peek()
        except CrenelError:
            # A model that does not load is told by the audit; the columns are guessed without it.
            return None, {}
        finally:
            worker.close()


def _relative(path: Path, folder: Path) -> str:
    return relpath(path.resolve(), folder.resolve()).replace("\\", "/")
