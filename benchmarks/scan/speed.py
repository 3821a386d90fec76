"""Time and memory of crenel's scanner: dense pickles, large archives, many small files.

Run ``python benchmarks/scan/speed.py [--records N] [--gigabytes G] [--files N] [--tools DIR]``.
DIR is the ``bin`` folder of an environment with picklescan; without it that column is skipped.
CPU seconds and peak memory are those that the operating system counts for one process each, the
interpreter's start included; ``sha256`` is the cost of reading and hashing the same file with
hashlib in pieces, which no scan that tells a digest can be below.
"""

from __future__ import annotations

import argparse
import pickle
import random
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from crenel.scan.skim import warm_up

OURS = (
    "import sys; from crenel.scan import scan_paths;"
    "r = scan_paths(sys.argv[1:]); print(*sorted({str(x.verdict) for x in r}))"
)
SHA = (
    "import hashlib, sys; print(hashlib.file_digest(open(sys.argv[1], 'rb'), 'sha256').hexdigest())"
)
WATCH = (
    "import os, subprocess, sys;"
    "c = subprocess.Popen(sys.argv[1:], stderr=subprocess.DEVNULL);"
    "_, _, u = os.wait4(c.pid, 0); c.returncode = 0;"
    "print(); print(u.ru_utime + u.ru_stime, u.ru_maxrss)"
)
START = "import sys, crenel.scan"


def dense_pickle(records: int) -> bytes:
    """Many small objects: four operations for every value."""
    rng = random.Random(0)
    rows = [
        {"id": i, "name": f"user {i}", "score": rng.random(), "at": (i, i + 1), "on": i % 2 == 0}
        for i in range(records)
    ]
    return pickle.dumps(rows, 4)


def torch_archive(path: Path, size: int) -> None:
    """A state dict of one storage, as torch.save writes it: stored, not compressed."""
    import torch

    torch.save({"w": torch.zeros(size // 4)}, path)
    with zipfile.ZipFile(path) as archive:
        assert all(member.compress_type == zipfile.ZIP_STORED for member in archive.infolist())


def small_files(folder: Path, count: int) -> None:
    """Pickles of about 38 kB: an array of numbers and some plain data."""
    import numpy as np

    rng = np.random.default_rng(0)
    for index in range(count):
        value = {"w": rng.normal(size=4500), "names": [f"f{i}" for i in range(50)], "i": index}
        (folder / f"{index:05}.pkl").write_bytes(pickle.dumps(value, 4))


def cost(command: list[str]) -> tuple[float, float, str]:
    """CPU seconds, peak memory in MB, and the last line said.

    A small process starts the command, because a child's peak counts its parent's size too.
    """
    started = subprocess.run(
        [sys.executable, "-c", WATCH, *command], capture_output=True, text=True, check=True
    )
    *said, figures = [line for line in started.stdout.split("\n") if line.strip()]
    seconds, kilobytes = figures.split()
    return float(seconds), float(kilobytes) / 1024, said[-1] if said else ""


def show(case: str, megabytes: float, commands: dict[str, list[str]]) -> None:
    print(f"{case}: {megabytes:.0f} MB")
    for name, command in commands.items():
        seconds, memory, said = cost(command)
        rate = megabytes / seconds
        print(f"  {name:11} {seconds:7.2f} CPU s {rate:8.1f} MB/s {memory:7.0f} MB   {said[:60]}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--tools", type=Path)
    options = parser.parse_args()
    ours = [sys.executable, "-c", OURS]
    peer = [str(options.tools / "picklescan"), "-p"] if options.tools else None
    warm_up()  # what is compiled is kept for the processes below
    seconds, memory, _ = cost([sys.executable, "-c", START])
    print(f"start of the interpreter and the scanner: {seconds:.2f} CPU s, {memory:.0f} MB")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "dense.pkl"
        file.write_bytes(dense_pickle(options.records))
        commands = {"crenel": [*ours, str(file)], "sha256": [sys.executable, "-c", SHA, str(file)]}
        if peer:
            commands["picklescan"] = [*peer, str(file)]
        show("dense pickle", file.stat().st_size / 1e6, commands)
        file.unlink()
        file = folder / "large.pt"
        torch_archive(file, int(options.gigabytes * 1e9))
        commands = {"crenel": [*ours, str(file)], "sha256": [sys.executable, "-c", SHA, str(file)]}
        if peer:
            commands["picklescan"] = [*peer, str(file)]
        show("torch archive", file.stat().st_size / 1e6, commands)
        file.unlink()
        many = folder / "many"
        many.mkdir()
        small_files(many, options.files)
        size = sum(f.stat().st_size for f in many.iterdir()) / 1e6
        commands = {"crenel": [*ours, str(many)]}
        if peer:
            commands["picklescan"] = [*peer, str(many)]
        show(f"{options.files} small files", size, commands)


if __name__ == "__main__":
    main()
