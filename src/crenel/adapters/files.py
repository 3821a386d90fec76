"""Model files, loaded from bytes that have been scanned."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crenel.adapters.formats import Format, format_of
from crenel.adapters.modules import first_line
from crenel.errors import CrenelError, MissingExtra, SubjectError

#: Where checkpoints keep the weights among other things.
_STATE_KEYS = ("state_dict", "model_state_dict", "model_state", "model", "net", "weights")

#: Packages that a pickle may need, and the extras that bring them.
EXTRAS = {
    "torch": "torch", "onnxruntime": "onnx", "xgboost": "xgboost", "lightgbm": "lightgbm",
    "catboost": "catboost", "river": "online",
}  # fmt: skip


def load_native(
    path: Path, content: bytes, build: Callable[[], Any] | None, notes: list[str]
) -> Any:
    """The model object of a file.

    Parameters
    ----------
    path : Path
        For messages.
    content : bytes
        The file's bytes; nothing else is read.
    build : callable or None
        Returns the untrained ``torch.nn.Module`` that a file of weights belongs to.
    notes : list of str
        What a reader of the report should know is added here.

    Raises
    ------
    SubjectError
        Where it cannot be loaded; the message names the cause and the way out.
    """
    kind = format_of(content, path.name)
    return _told(path, content, kind, lambda: _LOADERS[kind](path, content, build, notes))


def load_content(
    path: Path, content: bytes, build: Callable[[], Any] | None, trust: frozenset[str]
) -> Any:
    """Whatever a file holds: a model, or weights, arrays and other objects too.

    Parameters
    ----------
    path, content, build
        See `load_native`.
    trust : frozenset of str
        Digests of files of which everything is loaded, whole torch modules too.

    Raises
    ------
    SubjectError
        Where it cannot be loaded.
    """
    if content[:6] == b"\x93NUMPY" or _is_npz(content):
        return _told(path, content, "pickle", lambda: _arrays(content))
    kind = format_of(content, path.name)
    if kind == "pickle":
        return _told(path, content, kind, lambda: _unpickled(path, content, []))
    if kind == "safetensors" and build is None:
        return _told(path, content, kind, lambda: _safetensors_state(path, content))
    if kind == "torch-save" and build is None:
        if f"sha256:{hashlib.sha256(content).hexdigest()}" in trust:
            return _told(path, content, kind, lambda: _whole(content))
        return _told(path, content, kind, lambda: _torch_state(path, content))
    return load_native(path, content, build, [])


def _told(path: Path, content: bytes, kind: Format, read: Callable[[], Any]) -> Any:
    """What a reader makes of a file, its own errors told as one sentence."""
    try:
        return read()
    except CrenelError:
        raise
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package in EXTRAS and importlib.util.find_spec(package) is None:
            raise MissingExtra(package, EXTRAS[package]) from error
        raise SubjectError(_needs_module(path, content, error)) from error
    except Exception as error:
        raise SubjectError(_cannot_load(path, content, kind, error)) from error


def _is_npz(content: bytes) -> bool:
    if content[:4] != b"PK\x03\x04":
        return False
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return all(name.endswith(".npy") for name in archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError):  # what is wrong with it is told further on
        return False


def _arrays(content: bytes) -> Any:
    import numpy as np

    found = np.load(io.BytesIO(content), allow_pickle=True)  # scanned, or trusted by its digest
    return dict(found) if isinstance(found, np.lib.npyio.NpzFile) else found


def _pickle(path: Path, content: bytes, build: Any, notes: list[str]) -> Any:
    return _model_within(path, _unpickled(path, content, notes))


def _unpickled(path: Path, content: bytes, notes: list[str]) -> Any:
    import joblib

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = joblib.load(io.BytesIO(content))
    notes += sorted({_old(path, w) for w in caught if _is_old(w)})
    return found


def _model_within(path: Path, found: Any) -> Any:
    """The object with ``predict``; it may be the only one in a dictionary or a tuple."""
    if hasattr(found, "predict") or (callable(found) and not isinstance(found, type)):
        return found
    inside = found.values() if isinstance(found, dict) else found
    if isinstance(found, (dict, list, tuple)):
        models = [m for m in inside if hasattr(m, "predict")]
        if len(models) == 1:
            return models[0]
        raise SubjectError(
            f"{path} holds a {type(found).__name__} with {len(models)} models in it; save the one "
            "model (a Pipeline, where there are steps before it)"
        )
    raise SubjectError(
        f"{path} holds a {type(found).__module__}.{type(found).__name__}, which does not predict; "
        "save the whole model (a Pipeline, where there are steps before it)"
    )


def _skops(path: Path, content: bytes, build: Any, notes: list[str]) -> Any:
    try:
        import skops.io
    except ImportError as error:
        raise MissingExtra("skops", "skops") from error
    # the scan has judged every type in the file, or the user trusts this very file
    types = skops.io.get_untrusted_types(data=content)
    return _model_within(path, skops.io.loads(content, trusted=types))


def _xgboost(path: Path, content: bytes, build: Any, notes: list[str]) -> Any:
    try:
        import xgboost
    except ImportError as error:
        raise MissingExtra("xgboost", "xgboost") from error
    booster = xgboost.Booster()
    booster.load_model(bytearray(content))
    return booster


def _xgboost_binary(path: Path, content: bytes, build: Any, notes: list[str]) -> Any:
    try:
        return _xgboost(path, content, build, notes)
    except MissingExtra:
        raise
    except Exception as error:
        raise SubjectError(
            f"{path} is in XGBoost's old binary format, which XGBoost 3.1 and later refuse to "
            "read; load it with XGBoost 3.0 or earlier (pip install 'xgboost-cpu<3.1') and save it "
            "as .ubj or .json"
        ) from error


def _lightgbm(path: Path, content: bytes, build: Any, notes: list[str]) -> Any:
    try:
        import lightgbm
    except ImportError as error:
        raise MissingExtra("lightgbm", "lightgbm") from error
    return lightgbm.Booster(model_str=content.decode("utf-8"))


def _catboost(path: Path, content: bytes, build: Any, notes: list[str]) -> Any:
    from crenel.adapters.catboost import load

    return load(content)


def _onnx(path: Path, content: bytes, build: Any, notes: list[str]) -> Any:
    from crenel.adapters.onnx import session_of

    return session_of(content)


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("torch", "torch") from error
    return torch


def _torch_script(path: Path, content: bytes, build: Any, notes: list[str]) -> Any:
    return _torch().jit.load(io.BytesIO(content), map_location="cpu")


def _torch_export(path: Path, content: bytes, build: Any, notes: list[str]) -> Any:
    return _torch().export.load(io.BytesIO(content)).module()


def _torch_save(path: Path, content: bytes, build: Any, notes: list[str]) -> Any:
    return _built(path, _torch_state(path, content), build)


def _whole(content: bytes) -> Any:
    """All that torch pickled; only of files whose digest the user trusts."""
    return _torch().load(io.BytesIO(content), map_location="cpu", weights_only=False)


def _torch_state(path: Path, content: bytes) -> Any:
    torch = _torch()
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        raise SubjectError(
            f"{path} holds a pickled module rather than weights only, and loading it would run its "
            'code; save model.state_dict() and give build = "module:function", or save it as '
            "TorchScript or ONNX"
        ) from error


def _safetensors(path: Path, content: bytes, build: Any, notes: list[str]) -> Any:
    return _built(path, _safetensors_state(path, content), build)


def _safetensors_state(path: Path, content: bytes) -> dict[str, Any]:
    torch = _torch()
    types = {
        "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
        "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
        "U8": torch.uint8, "BOOL": torch.bool,
    }  # fmt: skip
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    state = {}
    for name, entry in header.items():
        if name != "__metadata__":
            low, high = entry["data_offsets"]
            part = bytearray(content[start + low : start + high])
            flat = torch.frombuffer(part, dtype=types[entry["dtype"]]) if part else torch.zeros(0)
            state[name] = flat.reshape(entry["shape"])
    return state


def _built(path: Path, state: Any, build: Callable[[], Any] | None) -> Any:
    """The user's module with the weights of a checkpoint."""
    weights = _weights_in(path, state)
    if build is None:
        raise SubjectError(
            f"{path} holds weights without the module they belong to; name the function that "
            'returns it: build = "module:function"'
        )
    module = build()
    try:
        module.load_state_dict(weights)
    except (RuntimeError, KeyError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        detail = lines[1] if len(lines) > 1 else first_line(error)
        raise SubjectError(
            f"the weights in {path} do not fit the module that build returns: {detail}"
        ) from error
    return module


def _weights_in(path: Path, state: Any) -> dict[str, Any]:
    for key in _STATE_KEYS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
            break
    if not isinstance(state, dict) or not all(hasattr(v, "shape") for v in state.values()):
        raise SubjectError(f"{path} holds no state dict; save model.state_dict()")
    if state and all(name.startswith("module.") for name in state):  # saved from DataParallel
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return dict(state)


_LOADERS: dict[Format, Callable[[Path, bytes, Any, list[str]], Any]] = {
    "pickle": _pickle,
    "skops": _skops,
    "xgboost": _xgboost,
    "xgboost-binary": _xgboost_binary,
    "lightgbm": _lightgbm,
    "catboost": _catboost,
    "onnx": _onnx,
    "torch-script": _torch_script,
    "torch-export": _torch_export,
    "torch-save": _torch_save,
    "safetensors": _safetensors,
}


# --- messages ------------------------------------------------------------------------------------


def _is_old(warning: warnings.WarningMessage) -> bool:
    return warning.category.__name__ == "InconsistentVersionWarning"


def _old(path: Path, warning: warnings.WarningMessage) -> str:
    import sklearn

    saved = getattr(warning.message, "original_sklearn_version", "another version")
    return (
        f"{path.name} was saved by scikit-learn {saved} and is read by {sklearn.__version__}: "
        "its answers may differ"
    )


def saved_by(content: bytes) -> str | None:
    """The version of scikit-learn that saved a pickle, where it tells; else None."""
    versions = []
    for match in re.finditer(rb"_sklearn_version", content):
        found = re.search(rb"\d+\.\d+(?:\.\d+)?", content[match.end() : match.end() + 40])
        if found:
            versions.append(found.group().decode())
    return versions[0] if versions else None


def _way_out(content: bytes) -> str:
    import sklearn

    saved = saved_by(content)
    if saved is None:
        return "install what it was saved with, or save it again with what is installed"
    return (
        f"it was saved by scikit-learn {saved} and {sklearn.__version__} is installed: audit it "
        f"with scikit-learn {saved}, or train and save it again"
    )


def _needs_module(path: Path, content: bytes, error: ModuleNotFoundError) -> str:
    name = error.name or first_line(error)
    if name.split(".")[0] == "sklearn":
        return f"{path} cannot be loaded: scikit-learn no longer has {name}; {_way_out(content)}"
    return (
        f"{path} cannot be loaded: it needs the module {name.split('.')[0]}, which is not "
        "installed; install it, or put it beside crenel.toml"
    )


def _cannot_load(path: Path, content: bytes, kind: Format, error: Exception) -> str:
    reason = first_line(error)
    way = f"; {_way_out(content)}" if kind == "pickle" else ""
    return f"{path} cannot be loaded as {kind}: {type(error).__name__}: {reason}{way}"
