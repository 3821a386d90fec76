"""Writes src/crenel/scan/keras_names.json: the names of Keras's own classes.

Run ``python scripts/build_keras_names.py keras-3.15.1-….whl tf_keras-2.21.0-….whl``. The wheels are
read as zip archives; nothing of them is imported. A class of any other name is the user's own.
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from pathlib import Path

TARGET = Path(__file__).parents[1] / "src" / "crenel" / "scan" / "keras_names.json"
SOURCES = re.compile(
    r"(?:tf_)?keras/src/(?:layers|ops|models|optimizers|initializers|losses|metrics|regularizers|"
    r"constraints|dtype_policies|activations|engine|mixed_precision|premade_models|saving/legacy|"
    r"feature_column|random|quantizers|export|utils)/?.*\.py$"
)
EXPORTED = re.compile(r"\"(?:tf_)?keras\.(?:\w+\.)*([A-Z]\w+)\"")
DEFINED = re.compile(r"^class ([A-Z]\w+)", re.MULTILINE)
# What saved configurations use that is no class of these packages.
FURTHER = ("CuDNNGRU", "CuDNNLSTM", "TensorShape", "SlicingOpLambda", "TFOpLambda")


def main() -> None:
    """Write the list."""
    found = set(FURTHER)
    sources = []
    for wheel in map(Path, sys.argv[1:]):
        sources.append("-".join(wheel.name.split("-")[:2]))
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                text = archive.read(name).decode("utf-8", "replace") if name.endswith(".py") else ""
                found.update(EXPORTED.findall(text))
                if SOURCES.match(name) and "test" not in name:
                    found.update(DEFINED.findall(text))
    data = {"source": sources, "classes": sorted(found)}
    TARGET.write_text(json.dumps(data, indent=0) + "\n", encoding="utf-8")
    print(f"{len(found)} classes to {TARGET}")


if __name__ == "__main__":
    main()
