"""A model from what a configuration names: a file, a function, an endpoint, or an object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from crenel.adapters.files import load_native
from crenel.adapters.modules import (
    add_to_path,
    first_line,
    is_reference,
    made,
    resolve,
    resolve_callable,
)
from crenel.adapters.trust import read_trusted
from crenel.adapters.wrapping import wrap
from crenel.errors import CrenelError, SubjectError, UsageError
from crenel.model import Model, Task


def load_model(
    model: Any,
    *,
    root: Path | None = None,
    build: Any = None,
    trust: Iterable[str] = (),
    scan: bool = True,
    endpoint: Mapping[str, Any] | None = None,
    classes: Sequence[Any] | None = None,
    task: Task | None = None,
    fit: Any = None,
    columns: Sequence[str] | None = None,
    sample: Any = None,
    notes: list[str] | None = None,
) -> Model:
    """Load a model and make a `Model` of it.

    Parameters
    ----------
    model : str, Path or object
        The path of a file (joblib or pickle, skops, XGBoost JSON or UBJSON, LightGBM text,
        CatBoost, ONNX, TorchScript, torch.export, a state dict or safetensors with ``build``),
        ``module:name`` (a function that predicts, or one without arguments that returns a
        model), the URL of an endpoint, or a model object.
    root : Path, optional
        Folder that relative paths and modules are in; the working directory where absent.
    build : str or callable, optional
        Returns the untrained ``torch.nn.Module`` for a file that holds weights only.
    trust : iterable of str
        Digests of files that are loaded although their scan is not clean.
    scan : bool
        False where the file has been scanned already.
    endpoint : mapping, optional
        Settings of an endpoint; see `crenel.adapters.http.wrap_endpoint`.
    classes, task, fit, columns, sample : optional
        See `crenel.adapters.wrap`; ``fit`` may be named as ``module:function``.
    notes : list of str, optional
        What a reader of the report should know is added here.

    Returns
    -------
    Model

    Raises
    ------
    UsageError
        Where the file, module or name does not exist.
    SubjectError
        Where the model cannot be loaded or used; `Untrusted` where its scan forbids it.
    """
    folder = Path(root or ".")
    train = resolve_callable(fit, folder, "fit") if fit is not None else None
    if is_url(model):
        from crenel.adapters.http import wrap_endpoint

        return wrap_endpoint(
            model, endpoint or {}, classes=classes, task=task, columns=columns, sample=sample
        )
    native = native_model(model, folder, build, trust, scan, [] if notes is None else notes)
    return wrapped(native, classes=classes, task=task, fit=train, columns=columns, sample=sample)


def wrapped(native: Any, **settings: Any) -> Model:
    """`crenel.adapters.wrap`, with the model's own errors told as one sentence."""
    try:
        return wrap(native, **settings)
    except CrenelError:
        raise
    except Exception as error:
        raise SubjectError(
            f"the model ({type(native).__name__}) cannot be used: "
            f"{type(error).__name__}: {first_line(error)}"
        ) from error


def native_model(
    model: Any, root: Path, build: Any, trust: Iterable[str], scan: bool, notes: list[str]
) -> Any:
    """The user's own object that a configuration names."""
    path = model_path(model, root)
    if path is not None:
        add_to_path(root)
        content = read_trusted(path, trust, scan=scan)
        maker = resolve_callable(build, root, "build") if build is not None else None
        return load_native(path, content, maker, notes)
    if isinstance(model, str):
        return _called(resolve(model, root, "model"), model)
    return model


def _called(found: Any, name: str) -> Any:
    try:
        return made(found)
    except CrenelError:
        raise
    except Exception as error:
        raise SubjectError(
            f"model: {name} failed: {type(error).__name__}: {first_line(error)}"
        ) from error


def model_path(model: Any, root: Path) -> Path | None:
    """The file that a configuration names; None where it names none.

    Raises
    ------
    UsageError
        Where the file does not exist.
    """
    if not isinstance(model, (str, Path)) or is_url(model):
        return None
    path = root / model
    if path.is_file():
        return path
    if is_reference(model):
        return None
    if path.is_dir():
        raise UsageError(f"model: {path} is a folder; name the model file in it")
    raise UsageError(f"model: there is no file {path}{_near(path)}")


def _near(path: Path) -> str:
    """A hint at a file with a similar name."""
    if not path.parent.is_dir():
        return f" (there is no folder {path.parent})"
    near = get_close_matches(path.name, [p.name for p in path.parent.iterdir()], n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def is_url(model: Any) -> bool:
    """Whether a model is named by the URL of an endpoint."""
    return isinstance(model, str) and model.lower().startswith(("http://", "https://"))
