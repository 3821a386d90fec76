"""Files that hold rows of a training set: whoever gets the file gets the rows.

Some estimators answer by the very rows that they were trained on, and keep them: nearest
neighbours, support vectors, Gaussian processes. Their files, tables in pickles, and data set files
that lie beside model files are told. Like the holes of loaders this changes no verdict: a file is
no less safe to load for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath

from crenel.scan.source import Window
from crenel.scan.values import Instance, Mapping
from crenel.scan.verdict import Report, ScanResult

#: Attribute that keeps rows, and what they are, to the classes of a package that have it; an
#: empty attribute: whatever is made of the class holds rows.
KEEPERS: tuple[tuple[str, str, str, str], ...] = (
    (
        "sklearn", "_fit_X", "all rows of its training set",
        "KNeighborsClassifier KNeighborsRegressor KNeighborsTransformer RadiusNeighborsClassifier "
        "RadiusNeighborsRegressor RadiusNeighborsTransformer NearestNeighbors LocalOutlierFactor "
        "KNNImputer",
    ),
    (
        "sklearn", "support_vectors_", "support vectors, which are rows of its training set",
        "SVC NuSVC SVR NuSVR OneClassSVM",
    ),
    (
        "sklearn", "X_train_", "all rows of its training set",
        "GaussianProcessRegressor _BinaryGaussianProcessClassifierLaplace",
    ),
    ("sklearn", "X_fit_", "all rows of its training set", "KernelRidge KernelPCA"),
    ("sklearn", "X_", "all rows of its training set", "LabelPropagation LabelSpreading"),
    ("sklearn", "components_", "core samples, which are rows of its training set", "DBSCAN"),
    ("sklearn", "components_", "a sample of the rows of its training set", "Nystroem"),
    (
        "sklearn", "cluster_centers_", "exemplars, which are rows of its training set",
        "AffinityPropagation",
    ),
    ("sklearn", "_raw_data", "all rows of its training set", "HDBSCAN"),
    ("sklearn", "embedding_", "a position for each row of its training set", "TSNE MDS Isomap"),
    ("umap", "_raw_data", "all rows of its training set", "UMAP"),
    ("hdbscan", "_raw_data", "all rows of its training set", "HDBSCAN"),
    ("sklearn", "", "the rows that it searches", "KDTree KDTree64 BallTree BallTree64"),
    ("scipy", "", "the rows that it searches", "KDTree cKDTree"),
    ("pandas", "", "a whole table", "DataFrame"),
    ("pandas", "", "a whole column", "Series"),
)  # fmt: skip
_KEEPERS = {
    f"{package}.{name}": (attribute, what)
    for package, attribute, what, names in KEEPERS
    for name in names.split()
}
MODELS = re.compile(
    r"pickle|joblib|torch|safetensors|gguf|onnx|keras|hdf5|skops|xgboost|lightgbm|catboost|"
    r"saved-model|tensorflow|tflite|r-data"
)
TABLES = re.compile(r".*\.(?:csv|tsv|jsonl|ndjson|parquet|arrow|feather|npy|npz)", re.I)
_DATA = re.compile(
    r"(?:^|[_.\- ])(?:x|y|train(?:ing|set)?|test(?:set)?|val|valid(?:ation)?|dev|data(?:set)?|"
    r"samples|rows|records)(?:[_.\- ]|\d|$)",
    re.I,
)
_OTHER = re.compile(
    r"log|loss|metric|history|curve|result|report|arg|config|stat|pred|score|schema|card|info", re.I
)
_LABEL = re.compile(r"(?:label|target|class|outcome|y)", re.I)
#: Members of an archive whose formats are kept.
MOST = 10_000


@dataclass(frozen=True)
class Hold:
    """Rows of a data set that a file holds.

    Parameters
    ----------
    path : str
        The file.
    what : str
        What holds rows, and of what kind they are, as a clause.
    rows : int or None
        How many, where the file says so in passing.
    member : str or None
        Path inside the archive.
    beside : bool
        A data set file, which is told only where a model file lies in the same folder.
    """

    path: str
    what: str
    rows: int | None = None
    member: str | None = None
    beside: bool = False

    @property
    def sentence(self) -> str:
        """One sentence for a person."""
        place = f"{self.path}!{self.member}" if self.member else self.path
        return f"{place}: {self.what}{'' if self.rows is None else f' ({self.rows:,} rows)'}."

    def to_json(self) -> dict[str, object]:
        """Return a JSON-ready dict."""
        return {"what": self.what, "rows": self.rows, "member": self.member}


@dataclass
class Kept:
    """What the objects of one class in one stream keep: how many do, with how many rows.

    ``rows`` is None where one of them does not say; ``unsure`` tells that a state was too long.
    """

    filled: int = 0
    rows: int | None = 0
    unsure: bool = False

    def add(self, rows: int | None) -> None:
        """Count one more object that keeps rows."""
        self.filled += 1
        self.rows = None if rows is None or self.rows is None else self.rows + rows

    def join(self, other: Kept) -> None:
        """Count what another stream, or another reading of this one, keeps."""
        self.filled += other.filled
        unknown = other.unsure or other.rows is None or self.rows is None
        self.rows = None if unknown else (self.rows or 0) + (other.rows or 0)
        self.unsure = self.unsure or other.unsure


def keeper(path: str) -> str | None:
    """Package and class of a dotted name, where such objects keep rows once they are fitted."""
    key = f"{path.partition('.')[0]}.{path.rpartition('.')[2]}"
    return key if key in _KEEPERS else None


def note_state(kept: Kept, key: str, state: object) -> None:
    """Note what a state that is set on an object of such a class holds."""
    attribute, _ = _KEEPERS[key]
    if not isinstance(state, Mapping):  # a table's or a tree's, or what no writer writes
        kept.unsure = True
        return
    value = state.get(attribute)
    if value is not None:
        shape = value.state if isinstance(value, Instance) else None
        rows = shape[0] if isinstance(shape, tuple) and shape else None
        kept.add(rows if isinstance(rows, int) and 0 <= rows < 1 << 48 else None)
    elif state.length > len(state.items):
        kept.unsure = True


def note_attributes(kept: Kept, key: str, attributes: dict[str, object]) -> None:
    """Note what the attributes of an object in a skops schema hold: they name files of arrays."""
    value = attributes.get(_KEEPERS[key][0])
    if isinstance(value, dict) and value.get("__loader__") != "JsonNode":
        kept.add(None)


def found_in(report: Report, path: str, kind: str, window: Window) -> tuple[Hold, ...]:
    """Return what a scanned file holds; data set files are marked as told beside models only."""
    holds = list(_estimators(report, path))
    tables = [(_told(m), _table(m)) for m, _ in report.members]
    if kind == "npz":
        names = {PurePath(m).stem.lower() for m, _ in report.members}
        arrays = [m for m, told in tables if told]
        if arrays or {"x", "y"} <= names:
            listed = ", ".join(PurePath(m).stem for m in sorted(arrays or ("x", "y"))[:4])
            holds.append(Hold(path, f"arrays of a data set ({listed})", beside=True))
    elif any(MODELS.match(told) for _, told in report.members):
        holds += [Hold(path, f"it {t} and lies beside a model", None, m) for m, t in tables if t]
    elif told := (_table(path) or _headed(path, window)):
        holds.append(Hold(path, f"it {told} and lies beside a model", beside=True))
    return tuple(holds)


def _estimators(report: Report, path: str) -> Iterator[Hold]:
    """What the classes that were named keep; by the class alone where no state was seen."""
    owners = {
        member
        for (member, name), kept in report.kept.items()
        if _KEEPERS[name][0] and (kept.filled or kept.unsure)
    }
    for (member, name), kept in sorted(report.kept.items()):
        attribute, what = _KEEPERS[name]
        last = name.rpartition(".")[2]
        inside = _told(member) or None
        if not attribute:
            if not (name.startswith("sklearn.") and member in owners):  # the owner is told
                yield Hold(path, f"{last} holds {what}", None, inside)
        elif kept.filled:
            yield Hold(path, f"{last} keeps {what}", kept.rows, inside)
        elif kept.unsure:
            yield Hold(path, f"{last}, once fitted, keeps {what}", None, inside)


def _told(member: str) -> str:
    """A member's name, which need not be UTF-8, in characters that can be written."""
    return member.encode("utf-8", "backslashreplace").decode()


def _table(path: str) -> str:
    """What the name of a file says of a data set in it; empty where it says nothing."""
    place = PurePath(path)
    fits = TABLES.fullmatch(place.name) and _DATA.search(place.stem)
    return "is named as a data set" if fits and not _OTHER.search(place.stem) else ""


def _headed(path: str, window: Window) -> str:
    """What the first line of a text table says; empty where it has no column of labels."""
    place = PurePath(path)
    if place.suffix.lower() not in (".csv", ".tsv") or _OTHER.search(place.stem):
        return ""
    line = window.read(0, 65_536).partition(b"\n")[0].decode("utf-8", "replace").strip("\r\ufeff")
    cells = [cell.strip(" \"'") for cell in re.split(r"[,;\t]", line)]
    labels = [cell for cell in cells if _LABEL.fullmatch(cell)]
    # Two columns are as likely a list of classes with their names.
    return f"has a column {labels[0]!r}" if labels and len(cells) > 2 else ""


def holds_of(results: Iterable[ScanResult]) -> list[Hold]:
    """Return what scanned files hold of data sets.

    Parameters
    ----------
    results : iterable of ScanResult
        Data set files are told where a model file of the same folder is among them.
    """
    listed = list(results)
    folders = {PurePath(r.path).parent for r in listed if MODELS.match(r.format)}
    return [
        hold
        for result in listed
        for hold in result.holds
        if not hold.beside or PurePath(result.path).parent in folders
    ]
