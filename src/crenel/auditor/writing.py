"""A hardened model as a file that `crenel audit` loads again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from crenel.subject import Data


def write_model(model: Any, folder: Path, train: Data | None) -> Path:
    """Write a model in the format that its kind is loaded from.

    Parameters
    ----------
    model : object
        The user's own kind of model: scikit-learn's and other Python objects go to joblib, torch's
        exported programs to ``.pt2`` and its scripts to ``.pt``, since neither can be pickled.
    folder : Path
        Exists.
    train : Data or None
        Its first rows are the example that a program is exported with.

    Returns
    -------
    Path
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(model, torch.jit.ScriptModule):
        path = folder / "hardened.pt"
        torch.jit.save(model, path)
        return path
    if torch is not None and train is not None and isinstance(model, torch.fx.GraphModule):
        path = folder / "hardened.pt2"
        rows = train.take(np.arange(min(2, len(train)))).x
        batch = torch.from_numpy(np.array(rows, dtype=np.float32))
        count = torch.export.Dim("n", min=1)
        program = torch.export.export(model, (batch,), dynamic_shapes=({0: count},))
        torch.export.save(program, path)
        return path
    import joblib

    path = folder / "hardened.joblib"
    joblib.dump(model, path)
    return path
