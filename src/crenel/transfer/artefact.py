"""What the files of a model show of it, without its being run: layers, labels, sizes."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crenel.errors import CrenelError, SubjectError
from crenel.scan.formats.wire import BYTES, VARINT, fields
from crenel.scan.source import Unreadable, Window

#: Bytes of a configuration, or of another file's beginning, that are read.
MOST_BYTES = 16 << 20
#: Layers that give the answer, by what libraries call them.
_HEAD = re.compile(
    r"(?:^|\.)(?:classifier|head|heads|fc|score|logits|output|_fc|last_linear)"
    r"(?:\.(?:\d+|out_proj|dense|fc|head))*\.weight$"
)
#: Tasks by how classes of Hugging Face end.
_TASKS = {
    "ForImageClassification": "image-classification",
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForAudioClassification": "audio-classification",
    "ForObjectDetection": "object-detection",
    "ForSemanticSegmentation": "image-segmentation",
    "ForQuestionAnswering": "question-answering",
    "ForCausalLM": "text-generation",
    "ForMaskedLM": "fill-mask",
    "ForCTC": "automatic-speech-recognition",
}


@dataclass(frozen=True)
class Artefact:
    """A model by its files.

    Attributes
    ----------
    architecture : str
        Class names in the configuration, or of the estimator.
    family : str
        ``model_type`` in the configuration.
    task : str
        As hubs name it; empty where nothing tells.
    labels : tuple of str
        In the configuration, in the order of the outputs.
    heads : tuple of int
        Outputs of the layers that may be the last one; empty where unknown.
    size : int or None
        Of images, in the configuration.
    inputs, outputs : tuple of str
        Name, type and shape of each, where a file tells them.
    parameters : int or None
        Number of weights.
    types : tuple of str
        Of the weights: "F32", "BF16"…
    bases : tuple of str
        Bases that the configuration names.
    notes : tuple of str
        What could not be read.
    """

    architecture: str = ""
    family: str = ""
    task: str = ""
    labels: tuple[str, ...] = ()
    heads: tuple[int, ...] = ()
    size: int | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    parameters: int | None = None
    types: tuple[str, ...] = ()
    bases: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def artefact_of(path: Path, trust: Iterable[str] = ()) -> Artefact:
    """Read the configuration beside the weights, the weights' shapes and ONNX's own signature.

    Parameters
    ----------
    path : Path
        A file of weights or a folder.
    trust : iterable of str
        Digests of files that are read although their scan is not clean.

    Notes
    -----
    Nothing that a file names is imported or called, but for pickles of estimators, which are
    loaded where their scan is clean, as `crenel lineage` loads them.
    """
    folder = path if path.is_dir() else path.parent
    found = Artefact()
    try:
        found = configured(folder)
    except SubjectError as error:
        found = replace(found, notes=(str(error),))
    if path.is_file() and _is_estimator(path):
        found = _with_estimator(found, path, trust)
    else:
        found = _with_signature(_with_weights(found, path, trust), path)
    # Who reads them elsewhere need not know the folders of this machine.
    whole = re.compile(rf"(?<!\S){re.escape(str(folder))}(?=\s|$)")
    notes = (n.replace(f"{folder}/", "") for n in found.notes)
    return replace(found, notes=tuple(whole.sub(folder.name or "the folder", n) for n in notes))


def configured(folder: Path) -> Artefact:
    """What config.json in a folder says; nothing where there is none.

    Raises
    ------
    SubjectError
        Where it is damaged.
    """
    raw = _json(folder / "config.json")
    named = raw.get("architectures")
    classes = [a for a in named if isinstance(a, str)] if isinstance(named, list) else []
    task = next((t for a in classes for end, t in _TASKS.items() if a.endswith(end)), "")
    if raw.get("problem_type") == "regression":
        task = ""  # its classes are named "…Classification" all the same
    labels = raw.get("id2label")
    size = raw.get("image_size")
    base = raw.get("_name_or_path")
    adapter = _json(folder / "adapter_config.json").get("base_model_name_or_path")
    return Artefact(
        architecture=", ".join(classes),
        family=str(raw.get("model_type") or ""),
        task=task,
        labels=tuple(map(str, labels.values())) if isinstance(labels, dict) else (),
        size=size if isinstance(size, int) and not isinstance(size, bool) else None,
        bases=tuple(dict.fromkeys(b for b in (base, adapter) if isinstance(b, str) and b)),
    )


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(MOST_BYTES))
    except OSError as error:
        raise SubjectError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise SubjectError(f"{path} is not valid JSON") from error
    return found if isinstance(found, dict) else {}


def _is_estimator(path: Path) -> bool:
    """Whether a file holds an estimator rather than arrays, told by its beginning."""
    from crenel.adapters.formats import format_of

    try:
        with path.open("rb") as file:
            head = file.read(MOST_BYTES)
        if head.startswith(b"PK"):
            with zipfile.ZipFile(path) as archive:
                return "schema.json" in archive.namelist()  # skops
        kind = format_of(head, path.name)
    except (OSError, zipfile.BadZipFile, CrenelError):
        return False
    return kind in ("pickle", "xgboost", "xgboost-binary", "lightgbm", "catboost")


def _with_estimator(found: Artefact, path: Path, trust: Iterable[str]) -> Artefact:
    """What an estimator says of itself, loaded where its scan is clean."""
    from crenel.adapters.loading import load_model
    from crenel.adapters.trust import normalised

    try:
        model = load_model(path, trust=normalised(trust))
    except CrenelError as error:
        return replace(found, notes=(*found.notes, str(error)))
    names = getattr(model.native, "feature_names_in_", ())
    count = getattr(model.native, "n_features_in_", None)
    inputs = [str(n) for n in names] or ([f"{count} features"] if count is not None else [])
    return replace(
        found,
        architecture=model.description,
        family=model.framework,
        task=model.task,
        labels=tuple(map(str, model.classes)),
        inputs=tuple(inputs),
        parameters=model.parameters,
    )


def _with_weights(found: Artefact, path: Path, trust: Iterable[str]) -> Artefact:
    from crenel.transfer.lineage.reading import read_weights

    try:
        weights = read_weights(path, trust=trust)
    except CrenelError as error:
        return replace(found, notes=(*found.notes, str(error)))
    matrices = [a for a in weights.arrays if a.comparable and len(a.shape) > 1]
    heads = {a.shape[0] for a in matrices if _HEAD.search(a.name)}
    return replace(
        found,
        heads=tuple(sorted(heads)),
        parameters=weights.parameters,
        types=tuple(sorted({a.dtype for a in weights.arrays if a.comparable})),
    )


#: Field numbers of onnx.proto: of the model, its graph, a value, its type, a tensor, a shape.
_GRAPH, _INITIALISER, _INPUT, _OUTPUT = 7, 5, 11, 12
_NAME, _TYPE, _TENSOR, _ELEMENT, _SHAPE, _DIM, _SIZE, _SYMBOL = 1, 2, 1, 1, 2, 1, 1, 2
_TENSOR_NAME = 8
_ELEMENTS = {1: "float32", 6: "int32", 7: "int64", 8: "string", 9: "bool", 10: "float16"}


def _with_signature(found: Artefact, path: Path) -> Artefact:
    """Inputs and outputs that an ONNX file declares."""
    files = [path] if path.is_file() else sorted(path.glob("*.onnx"))[:1]
    if not files or files[0].suffix != ".onnx":
        return found
    try:
        inputs, outputs = onnx_signature(files[0])
    except SubjectError as error:
        return replace(found, notes=(*found.notes, str(error)))
    wide = {d.shape[1] for d in outputs if len(d.shape) == 2 and isinstance(d.shape[1], int)}
    return replace(
        found,
        inputs=tuple(map(str, inputs)),
        outputs=tuple(map(str, outputs)),
        heads=tuple(sorted(n for n in wide if isinstance(n, int))) or found.heads,
    )


@dataclass(frozen=True)
class Declared:
    """One input or output of an ONNX graph.

    Attributes
    ----------
    name, type : str
    shape : tuple of int or str
        Names stand for sizes that are free.
    """

    name: str
    type: str
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        return f"{self.name}: {self.type} [{', '.join(map(str, self.shape))}]"


def onnx_signature(path: Path) -> tuple[list[Declared], list[Declared]]:
    """Inputs and outputs of an ONNX file, read by their protobuf fields.

    Raises
    ------
    SubjectError
        Where the file is damaged.
    """
    import mmap

    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        window = Window(mapped, 0, len(mapped))
        graph = _inner(window, 0, len(window), _GRAPH)
        parts = list(fields(window, *graph[0])) if graph else []
        stored = {_name(window, a, b, _TENSOR_NAME) for n, wire, a, b in parts if n == _INITIALISER}
        found = {
            side: [_declared(window, a, b) for n, wire, a, b in parts if (n, wire) == (side, BYTES)]
            for side in (_INPUT, _OUTPUT)
        }
    except (OSError, ValueError, Unreadable) as error:
        raise SubjectError(f"{path} is a damaged ONNX file: {error}") from error
    return [d for d in found[_INPUT] if d.name not in stored], found[_OUTPUT]


def _inner(window: Window, start: int, end: int, number: int) -> list[tuple[int, int]]:
    return [(a, b) for n, wire, a, b in fields(window, start, end) if (n, wire) == (number, BYTES)]


def _name(window: Window, start: int, end: int, number: int) -> str:
    for a, b in _inner(window, start, end, number)[:1]:
        return window.read(a, min(b - a, 200)).decode("utf-8", "replace")
    return ""


def _declared(window: Window, start: int, end: int) -> Declared:
    name = _name(window, start, end, _NAME)
    element, shape = 0, []
    for kind in _inner(window, start, end, _TYPE):
        for tensor in _inner(window, *kind, _TENSOR):
            for n, wire, first, _ in fields(window, *tensor):
                element = first if (n, wire) == (_ELEMENT, VARINT) else element
            for place in _inner(window, *tensor, _SHAPE):
                shape = [_size(window, *dim) for dim in _inner(window, *place, _DIM)]
    return Declared(name, _ELEMENTS.get(element, f"type {element}"), tuple(shape))


def _size(window: Window, start: int, end: int) -> int | str:
    for n, wire, first, _ in fields(window, start, end):
        if (n, wire) == (_SIZE, VARINT):
            return first
    return _name(window, start, end, _SYMBOL) or "?"
