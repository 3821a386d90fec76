"""Controls of TRA-105: a base in a file, a copy with a new head, and one that was tuned in full."""

from __future__ import annotations

from typing import Any

import numpy as np

from crenel.subject import Base, Subject
from crenel.transfer.controls import control_folder, safetensors_bytes

_SHAPES = {"0.weight": (64, 40), "2.weight": (64, 64), "4.weight": (48, 64), "6.weight": (16, 48)}


def _subject(name: str, tune: Any) -> Subject:
    rng = np.random.default_rng(5)
    base = {
        n: (rng.standard_normal(s) / np.sqrt(s[1])).astype(np.float32) for n, s in _SHAPES.items()
    }
    tuned = {n: tune(n, w, rng).astype(np.float32) for n, w in base.items()}
    folder = control_folder() / name
    folder.mkdir(exist_ok=True)
    paths = folder / "base.safetensors", folder / "model.safetensors"
    for path, weights in zip(paths, (base, tuned)):
        header, at = {}, 0
        for key, w in weights.items():
            offsets = [at, at + w.nbytes]
            header[key] = {"dtype": "F32", "shape": list(w.shape), "data_offsets": offsets}
            at += w.nbytes
        body = b"".join(w.tobytes() for w in weights.values())
        path.write_bytes(safetensors_bytes(header, body))
    return Subject(name, files=(paths[1],), base=Base(files=(paths[0],), origin="hub:a/base"))


def new_head() -> Subject:
    """A model whose last layer alone is its own."""

    def tune(name: str, w: Any, rng: np.random.Generator) -> Any:
        return rng.permutation(w.ravel()).reshape(w.shape) if name == "6.weight" else w

    return _subject("new-head", tune)


def tuned_in_full() -> Subject:
    """A model that was tuned from its base in all layers."""

    def tune(name: str, w: Any, rng: np.random.Generator) -> Any:
        return w + 0.3 * w.std() * rng.standard_normal(w.shape)

    return _subject("tuned-in-full", tune)
