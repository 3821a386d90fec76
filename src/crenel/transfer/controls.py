"""Controls of risk 4: a pickle that would run a command, an undocumented base, a weak extractor."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import struct
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from crenel.model import Model
from crenel.subject import Base, Data, Subject


@cache
def control_folder() -> Path:
    """A folder for the control files of this process; removed at its end."""
    import atexit

    folder = Path(tempfile.mkdtemp(prefix="crenel-control-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def hostile_file() -> Subject:
    """A model file that would run a shell command when loaded; it is never loaded."""
    # GLOBAL os.system, the command, TUPLE1, REDUCE, STOP: written by hand, so that no object
    # that could run is ever made here.
    path = control_folder() / "model.pkl"
    command = b"echo crenel-control"
    path.write_bytes(
        b"\x80\x04cos\nsystem\nX" + struct.pack("<I", len(command)) + command + b"\x85R."
    )
    return Subject("hostile file", files=(path,))


def clean_files() -> Subject:
    """A safetensors file and a pickle of plain numbers."""
    weights = np.arange(6, dtype=np.float32)
    header = {"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, weights.nbytes]}}
    tensors, numbers = control_folder() / "model.safetensors", control_folder() / "thresholds.pkl"
    tensors.write_bytes(safetensors_bytes(header, weights.tobytes()))
    numbers.write_bytes(pickle.dumps({"limits": [0.1, 0.5], "names": ["a", "b"]}))
    return Subject("clean files", files=(tensors,), base=Base(files=(numbers,)))


def safetensors_bytes(header: dict[str, Any], body: bytes) -> bytes:
    """A safetensors file of a header and the numbers that it describes."""
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def _three_classes() -> Model:
    def decide(x: Any) -> Any:
        return (np.asarray(x)[:, 0] * 3).astype(np.int64) % 3

    return Model("function", "classification", np.arange(3), decide)


def silent_base() -> Subject:
    """A base whose card says next to nothing, and that little wrongly."""
    card = control_folder() / "silent.md"
    card.write_text("# base\n\nSorts images into 1,000 classes.\n".replace("1,000", "1000"))
    base = Base(model=_three_classes(), origin="hub:someone/base@main", card=card)
    return Subject("silent base", base=base)


_FULL = """\
---
license: apache-2.0
datasets: [digits]
---
# Base

## Intended use
A starting point for tuning on small images.

## Limitations
Not for photographs; it was never tried on noisy scans.

## Training data
The digits data set, 1,797 images, from its first publisher.

## Evaluation
Tried on held-out rows of 3 classes.

## Risk assessment and security controls
Adversarial inputs and label errors were assessed; weights are signed.

## Contact
Written by the vision group, who answer mail at the address in the repository.

## Files
SHA-256 of base.safetensors: {digest}
"""


def documented_base() -> Subject:
    """A base whose card answers all, and whose digest is that of its file."""
    folder = control_folder() / "documented"
    folder.mkdir(exist_ok=True)
    weights, card = folder / "base.safetensors", folder / "README.md"
    content = safetensors_bytes({}, b"")
    weights.write_bytes(content)
    card.write_text(_FULL.replace("{digest}", hashlib.sha256(content).hexdigest()))
    origin = "hub:vision/base@" + "0123456789abcdef0123456789abcdef01234567"
    base = Base(model=_three_classes(), files=(weights,), origin=origin, card=card)
    return Subject("documented base", base=base)


def _pair(shared: bool) -> Subject:
    """A base and a tuned model on clouds in 96 dimensions.

    The base reads the first half of the values. The tuned model reads the same half through the
    same extractor, or the other half through one of its own.
    """
    import torch

    from crenel.adapters import wrap

    rng = np.random.default_rng(7)
    y = rng.integers(0, 3, 240)
    centres = rng.choice([0.35, 0.65], size=(3, 96))
    x = np.clip(centres[y] + rng.normal(scale=0.05, size=(240, 96)), 0, 1).astype(np.float32)
    base = _network(x[:120, :48], y[:120], slice(0, 48), None)
    if shared:
        tuned = _network(x[120:180, :48], y[120:180], slice(0, 48), base[1:3])
    else:
        tuned = _network(x[120:180, 48:], y[120:180], slice(48, 96), None)
    public = Data(x[:120], y[:120], np.arange(120))
    held = Data(x[180:], y[180:], np.arange(180, 240))
    with torch.no_grad():
        models = [wrap(m, classes=[0, 1, 2], sample=x[:8]) for m in (tuned, base)]
    return Subject("tuned", model=models[0], test=held, base=Base(model=models[1], data=public))


def _network(x: Any, y: Any, half: slice, extractor: Any) -> Any:
    """A linear layer on half of the values, a ReLU, and a head; an extractor given is frozen."""
    import torch

    class Half(torch.nn.Module):  # type: ignore[misc]
        def forward(self, rows: Any) -> Any:
            return rows[:, half]

    with torch.random.fork_rng():
        torch.manual_seed(3)
        body = extractor or torch.nn.Sequential(torch.nn.Linear(48, 16), torch.nn.ReLU())
        head = torch.nn.Linear(16, 3)
    learned = list(head.parameters()) + ([] if extractor else list(body.parameters()))
    network = torch.nn.Sequential(Half(), *body, head)
    optimizer = torch.optim.Adam(learned, lr=0.02)
    rows, labels = torch.from_numpy(x), torch.from_numpy(y)
    for _ in range(150):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(_whole(rows, half)), labels).backward()
        optimizer.step()
    return network.eval()


def _whole(rows: Any, half: slice) -> Any:
    """Rows of one half with zeros in the place of the other."""
    import torch

    whole = torch.zeros(len(rows), 96)
    whole[:, half] = rows
    return whole


def frozen_extractor() -> Subject:
    """A tuned model that is a new head on the base's own extractor."""
    return _pair(shared=True)


def other_extractor() -> Subject:
    """A tuned model that looks at nothing that the base looks at."""
    return _pair(shared=False)
