"""A guard for libraries: scan a file and load it, on the same bytes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


def load(
    path: str | os.PathLike[str],
    *,
    trust: Iterable[str] = (),
    build: Callable[[], Any] | None = None,
) -> Any:
    """Load what a model file holds, if its scan is clean.

    The file is read once; what was read is scanned, and loaded from memory, so that nothing can
    change in between. The modules that loading imports must be those that their distributions
    installed.

    Parameters
    ----------
    path : path
        joblib, pickle, NumPy (npy, npz), skops, torch, TorchScript, torch.export, safetensors,
        ONNX, XGBoost, LightGBM or CatBoost.
    trust : iterable of str
        Digests ``sha256:…`` of files that are loaded whatever their scan says.
    build : callable, optional
        Returns the untrained ``torch.nn.Module`` that a file of weights belongs to.

    Returns
    -------
    object
        What the library of the format makes of it: an estimator, a Booster, an ONNX Runtime
        session, a module; the weights by name where a file holds weights and no ``build`` is
        given; whatever else was pickled.

    Raises
    ------
    crenel.errors.UsageError
        Where nothing is there.
    crenel.errors.Untrusted
        Where the scan is not clean, or a module is not what was installed.
    crenel.errors.SubjectError
        Where the file cannot be read or loaded.
    """
    from crenel.adapters.files import load_content
    from crenel.adapters.trust import normalised, read_trusted
    from crenel.errors import UsageError

    place = Path(path)
    if not place.is_file():
        raise UsageError(f"there is no file {place}")
    digests = normalised(trust)
    content = read_trusted(place, digests)
    return load_content(place, content, build, digests)
