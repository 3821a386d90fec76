"""Recall, false alarms and time of crenel's scanner beside picklescan and modelscan.

Run ``python benchmarks/scan/against_scanners.py [--tools DIR] [--benign PATH ...]``. DIR is the
``bin`` folder of an environment that has picklescan and modelscan; what is missing is said to be
skipped. The harmful files are those of tests/scan/corpus.py, written by hand; they are scanned and
never loaded. The benign ones are made here with the installed libraries, plus the paths given.
A tool alarms if its exit status is not 0, or for a second figure if it says that something is
suspicious; every tool gets each file by itself under a ``.pkl`` name.
"""

from __future__ import annotations

import argparse
import io
import os
import pickle
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.scan.corpus import HARMFUL  # noqa: E402 - the corpus lives beside the tests

SUSPICIOUS = re.compile(r"suspicious|Total Issues: [1-9]", re.IGNORECASE)
CLEAN = re.compile(r"Suspicious globals: 0\b|Total Issues: 0\b", re.IGNORECASE)
OURS = (
    "import sys; from crenel.scan import scan_paths, exit_code;"
    "r = scan_paths(sys.argv[1:]); print(*{str(x.verdict) for x in r}); sys.exit(exit_code(r))"
)


def benign_files() -> dict[str, bytes]:
    import joblib
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = np.random.default_rng(0).normal(size=(100, 4))
    y = (x[:, 0] > 0).astype(int)
    models = {
        "forest": RandomForestClassifier(5).fit(x, y),
        "boosting": HistGradientBoostingClassifier(max_iter=3).fit(x, y),
        "pipeline": make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y),
        "text": TfidfVectorizer().fit(["a cat", "a dog"]),
        "plain": {"a": [1, 2.0, "x"]},
    }
    files = {}
    for key, model in models.items():
        for version in (0, 2, 4, 5):
            files[f"{key}-{version}"] = pickle.dumps(model, version)
        buffer = io.BytesIO()
        joblib.dump(model, buffer)
        files[f"{key}-joblib"] = buffer.getvalue()
    return files


def dense_pickle(records: int) -> bytes:
    """Many small objects: the worst case for a reader of operations."""
    rng = random.Random(0)
    return pickle.dumps(
        [
            {"id": i, "name": f"u{i}", "score": rng.random(), "at": (i, i + 1)}
            for i in range(records)
        ],
        4,
    )


def judge(command: list[str], file: Path) -> tuple[bool, bool]:
    done = subprocess.run([*command, str(file)], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    loud = bool(SUSPICIOUS.search(CLEAN.sub("", said)))
    return done.returncode != 0, done.returncode != 0 or loud


def cost(command: list[str], file: Path) -> tuple[float, float]:
    """CPU seconds and peak memory in MB of one run, from the operating system's accounts."""
    quiet = subprocess.DEVNULL
    child = subprocess.Popen([*command, str(file)], stdout=quiet, stderr=quiet)
    _, _, used = os.wait4(child.pid, 0)
    child.returncode = 0
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def rates(command: list[str], files: dict[str, bytes], folder: Path) -> tuple[int, int, list[str]]:
    strict = loud = 0
    missed = []
    for key, data in files.items():
        file = folder / f"{key.replace('/', '_')}.pkl"
        file.write_bytes(data)
        first, second = judge(command, file)
        strict += first
        loud += second
        if not second:
            missed.append(key)
        file.unlink()
    return strict, loud, missed


def commands(tools: Path | None) -> dict[str, list[str]]:
    found = {"crenel": [sys.executable, "-c", OURS]}
    where: Callable[[str], str | None] = lambda name: (  # noqa: E731 - one line is clearer here
        str(tools / name) if tools and (tools / name).exists() else shutil.which(name)
    )
    for name, arguments in (("picklescan", ["-p"]), ("modelscan", ["scan", "-p"])):
        place = where(name)
        if place is None:
            print(f"skipped: {name} is not installed; give --tools")
        else:
            found[name] = [place, *arguments]
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tools", type=Path)
    parser.add_argument("--benign", type=Path, nargs="*", default=[])
    parser.add_argument("--records", type=int, default=1_000_000)
    options = parser.parse_args()
    benign = benign_files()
    for place in options.benign:
        for file in [place] if place.is_file() else sorted(place.rglob("*")):
            if file.is_file():
                benign[str(file).replace("/", "_")] = file.read_bytes()
    print(f"{len(HARMFUL)} harmful files, {len(benign)} benign files")
    print("tool         harmful: exit/any   benign: exit/any   CPU s, peak MB on the dense pickle")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dense = folder / "dense.pkl"
        found = commands(options.tools)
        results = {}
        for tool, command in found.items():
            results[tool] = (rates(command, HARMFUL, folder), rates(command, benign, folder))
        dense.write_bytes(dense_pickle(options.records))
        megabytes = dense.stat().st_size / 1e6
        for tool, command in found.items():
            harmful, quiet = results[tool]
            started = time.perf_counter()
            seconds, memory = cost(command, dense)
            wall = time.perf_counter() - started
            print(
                f"{tool:12} {harmful[0]:4}/{harmful[1]:<4} of {len(HARMFUL)}   "
                f"{quiet[0]:3}/{quiet[1]:<3} of {len(benign)}   "
                f"{seconds:.1f} s ({wall:.1f} s wall), {memory:.0f} MB for {megabytes:.0f} MB"
            )
            print(f"{'':12} missed: {', '.join(harmful[2][:12]) or 'none'}")


if __name__ == "__main__":
    main()
