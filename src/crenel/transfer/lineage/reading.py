"""Weights of whatever a model is given as: a file, a folder, or an object in memory."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from crenel.adapters.trust import normalised, read_trusted
from crenel.errors import CrenelError, NotApplicable, SubjectError, Untrusted, UsageError
from crenel.transfer.lineage.weights import Array, Weights

#: File names of weights in a folder, the best kind first: of several kinds only one is read.
PATTERNS = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.tar", "*.onnx", "*.jit")
#: Ends of file names that may hold weights.
SUFFIXES = frozenset(
    (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".tar", ".onnx", ".jit", ".ts", ".pkl",
     ".pickle", ".joblib", ".skops")
)  # fmt: skip
_OTHERS = ("training_args", "optimizer", "scheduler", "rng_state")


def read_weights(source: Any, *, trust: Iterable[str] = (), name: str = "") -> Weights:
    """Named arrays of a model, without running any of its code.

    Files are scanned first. Torch files and TorchScript are taken apart by a reader that imports
    and calls nothing that they name; safetensors and ONNX are read in place. Numbers stay in the
    file until they are compared, one array at a time. A pickle of scikit-learn is loaded as
    `crenel.adapters.load_model` loads it, where its scan is clean.

    Parameters
    ----------
    source : Weights, path, torch module or scikit-learn estimator
        A folder stands for the files of weights in it (shards are joined).
    trust : iterable of str
        Digests ``sha256:…`` of files that are read although their scan is not clean.
    name : str
        Stands for the model in reports; that of the file where empty.

    Raises
    ------
    UsageError
        Where nothing is there.
    SubjectError
        Where a file is damaged; `Untrusted` where its scan is not clean.
    NotApplicable
        Where the model shows no weights.
    """
    if isinstance(source, Weights):
        return source
    if not isinstance(source, (str, Path)):
        from crenel.transfer.lineage.estimators import weights_of

        return weights_of(source, name or type(source).__name__)
    path = Path(source)
    if not path.exists():
        raise UsageError(f"there is no file or folder {path}; check the path")
    files = _files(path)
    trusted = normalised(trust)
    arrays: list[Array] = []
    notes: list[str] = []
    for file in files:
        found, unread = _of_file(file, trusted)
        arrays += found
        notes += unread
    if not any(a.comparable for a in arrays):
        raise NotApplicable(f"{path} holds no weights that can be compared")
    if all("lora_" in a.name for a in arrays):
        raise NotApplicable(f"{path} holds an adapter, not a model; merge it into its base first")
    return Weights(name or path.name, tuple(arrays), tuple(notes))


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    for pattern in PATTERNS:
        found = sorted(p for p in path.glob(pattern) if not p.name.startswith(_OTHERS))
        if found:
            shards = [p for p in found if "-of-" in p.name]
            named = [p for p in found if p.name.startswith(("model", "pytorch_model"))]
            return shards or named[:1] or found[:1]
    raise UsageError(f"{path} holds no file of weights; name the file")


def _of_file(path: Path, trusted: frozenset[str]) -> tuple[list[Array], list[str]]:
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise SubjectError(f"{path} cannot be read: {error}") from error
    kind = _admitted(path, mapped, trusted)
    try:
        return _read(kind, path, mapped, trusted)
    except CrenelError:
        raise
    except Exception as error:
        raise SubjectError(f"{path} is damaged: {type(error).__name__}: {error}") from error


def _read(
    kind: str, path: Path, mapped: Any, trusted: frozenset[str]
) -> tuple[list[Array], list[str]]:
    if kind == "safetensors":
        from crenel.transfer.lineage import safetensors_files

        return safetensors_files.arrays_in(mapped, path.name)
    if kind == "onnx":
        from crenel.transfer.lineage import onnx_files

        return onnx_files.arrays_in(mapped, path)
    from crenel.transfer.lineage import torch_files

    if kind in ("torch-zip", "torchscript"):
        return torch_files.arrays_in_zip(mapped, path.name), []
    if kind == "torch-legacy":
        return torch_files.arrays_in_legacy(mapped, path.name), []
    return _loaded(path, trusted), []


def _admitted(path: Path, mapped: Any, trusted: frozenset[str]) -> str:
    """The format of a file whose very bytes were scanned and are clean, or trusted.

    Raises
    ------
    Untrusted
        Where they are neither.
    """
    from crenel.scan import scan_file

    result = scan_file(path)
    digest = hashlib.sha256(mapped).hexdigest()
    if result.sha256 != digest:
        raise Untrusted(f"{path} changed while it was scanned, so it was not read; try again")
    if result.verdict != "clean" and f"sha256:{digest}" not in trusted:
        reason = result.reasons[0].sentence.rstrip(".") if result.reasons else "no reason given"
        raise Untrusted(
            f"{path} was not read, its scan says {result.verdict}: {reason}; if you trust it, add "
            f"its digest to trust: sha256:{digest}"
        )
    return result.format


def _loaded(path: Path, trusted: frozenset[str]) -> list[Array]:
    """Arrays of a model that has to be loaded to be seen."""
    from crenel.adapters.files import load_native
    from crenel.transfer.lineage.estimators import weights_of

    native = load_native(path, read_trusted(path, trusted), None, [])
    return list(weights_of(native, path.name).arrays)
