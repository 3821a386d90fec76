"""Writes src/crenel/scan/tensorflow_ops.json: the names of TensorFlow's own operators.

Run ``python scripts/build_tensorflow_ops.py tensorflow_cpu-2.21.0-….whl``. The wheel is read as a
zip archive; nothing of it is imported. An operator of any other name comes from another library.
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from pathlib import Path

TARGET = Path(__file__).parents[1] / "src" / "crenel" / "scan" / "tensorflow_ops.json"
CALLS = re.compile(r"_execute\.execute\(b\"(\w+)\"|_apply_op_helper\(\s*\"(\w+)\"")


def main() -> None:
    """Write the list."""
    wheel = Path(sys.argv[1])
    found: set[str] = set()
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if re.search(r"gen_\w*ops\.py$", name):
                for match in CALLS.finditer(archive.read(name).decode("utf-8")):
                    found.add(match[1] or match[2])
    data = {"source": wheel.name.partition("-cp")[0], "ops": sorted(found)}
    TARGET.write_text(json.dumps(data, indent=0) + "\n", encoding="utf-8")
    print(f"{len(found)} operators to {TARGET}")


if __name__ == "__main__":
    main()
