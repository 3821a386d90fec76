"""The walk over the opcodes of large pickles beside picklescan's, per operation, and its memory.

Run ``python benchmarks/scan/opcodes.py --peer PYTHON [--millions N] [--case NAME]``. PYTHON is the
interpreter of an environment with picklescan; without it that side is skipped. Every file holds N
million operations (default 50) as pickle writes them by protocol 4, and every measurement is a
process of its own. ``walk`` is the CPU time of the scan of the stream, the best of three, compiled
code loaded (the seconds that this takes are given apart); ``process`` is the CPU time of all,
interpreter, imports and SHA-256 included, with the peak of memory. picklescan keeps a tuple for
each operation, so it is timed on streams of one and five million operations
(``scan_pickle_bytes``, imports excluded): its time per operation does not fall with length. The
ratio is that of the times per operation, against its better one.

Measured beside picklescan 1.0.5 on two busy cores of an Intel Xeon, at 50 million operations:
small ints 371 times, tuples 289, memoised strings 226, records 251, ints with a datetime every 1000
operations 434, NumPy scalars 280, small arrays 244, strings with a new object every 1000
operations 260. At 6 to 10 million: datetimes 268, ordered
dicts 233, own objects 284. Peak memory 218 to 246 MB, of which some 140 are NumPy and numba; whole
processes take 1 to 2 CPU seconds.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import json
import os
import pickle
import pickletools
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from crenel.scan.skim import warm_up

MILLION = 1_000_000
OURS = """
import json, resource, sys, time
from pathlib import Path
from crenel.scan.context import Context
from crenel.scan.dispatch import dispatch
from crenel.scan.formats.pickles import scan_pickle
from crenel.scan.policy import default_policy
from crenel.scan.scanner import scan_file
from crenel.scan.skim import warm_up
from crenel.scan.source import Budget, opened
from crenel.scan.verdict import Report
policy = default_policy()
started = time.process_time()
warm_up()
loaded = time.process_time() - started
walks = []
for _ in range(3):
    with opened(Path(sys.argv[1])) as window:
        report, budget = Report(), Budget()
        started = time.process_time()
        scan_pickle(window, Context(report, policy, budget, "x", dispatch))
        walks.append(time.process_time() - started)
walk = min(walks)
print(json.dumps([str(report.verdict()), Budget().operations - budget.operations, walk, loaded]))
"""
WHOLE = "import sys; from crenel.scan import scan_file; print(scan_file(sys.argv[1]).verdict)"
PEER = """
import io, json, sys, time
from picklescan.scanner import scan_pickle_bytes
data = open(sys.argv[1], "rb").read()
started = time.process_time()
scan_pickle_bytes(io.BytesIO(data), "x")
print(json.dumps(time.process_time() - started))
"""


class Own:
    """An object of a class that is on no list."""

    def __init__(self, number: int) -> None:
        self.number = number


class Payload:
    """Runs a command when it is loaded."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("true",)


def _time(i: int) -> datetime.datetime:
    return datetime.datetime(2020, 1, 1 + i % 28, i % 24, i % 60)


def _record(i: int) -> dict[str, object]:
    return {"id": i, "name": f"user {i}", "score": i / 7, "at": (i, i + 1), "on": i % 2 == 0}


CASES: dict[str, Callable[[int], list[object]]] = {
    "small ints": lambda n: [i % 256 for i in range(n)],
    "tuples of ints": lambda n: [(i % 256, 1) for i in range(n // 4)],
    "memoised strings": lambda n: [f"s{i}" for i in range(n // 2)],
    "records": lambda n: [_record(i) for i in range(n // 19)],
    "ints, a datetime every 1000": lambda n: [
        [_time(i), list(range(990))] for i in range(n // 1000)
    ],
    "strings, a new object every 1000": lambda n: [
        [Own(i), [f"s{i} {j}" for j in range(495)]] for i in range(n // 1000)
    ],
    "ints, a command at the end": lambda n: [*(i % 256 for i in range(n)), Payload()],
    "datetimes": lambda n: [_time(i) for i in range(n // 7)],
    "ordered dicts": lambda n: [collections.OrderedDict(a=i % 256) for i in range(n // 7)],
    "NumPy scalars": lambda n: list(np.linspace(0, 1, n // 8)),
    "small arrays": lambda n: [np.arange(3) for _ in range(n // 22)],
    "own objects": lambda n: [Own(i) for i in range(n // 16)],
}


def said(interpreter: str, code: str, file: Path) -> tuple[list[object], float, float]:
    """What a process prints, its CPU seconds, and its peak of memory in MB."""
    watch = (
        "import os, subprocess, sys; c = subprocess.Popen(sys.argv[1:]);"
        "_, s, u = os.wait4(c.pid, 0); c.returncode = s;"
        "print(u.ru_utime + u.ru_stime, u.ru_maxrss / 1024); sys.exit(s != 0)"
    )
    command = [sys.executable, "-c", watch, interpreter, "-c", code, str(file)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    seconds, memory = lines[-2].split()
    try:
        return json.loads(lines[0]), float(seconds), float(memory)
    except ValueError:
        return [lines[0]], float(seconds), float(memory)


def written(folder: Path, make: Callable[[int], list[object]], operations: int) -> Path:
    file = folder / "case.pkl"
    with file.open("wb") as target:
        pickle.dump(make(operations), target, 4)
    return file


def peer_rates(folder: Path, case: str, interpreter: str) -> dict[int, float]:
    """Picklescan's microseconds per operation, by millions of operations."""
    rates = {}
    for millions in (1, 5):
        file = written(folder, CASES[case], millions * MILLION)
        count = sum(1 for _ in pickletools.genops(file.read_bytes()))
        seconds, _, _ = said(interpreter, PEER, file)
        rates[millions] = float(seconds) / count * 1e6  # type: ignore[arg-type]
    return rates


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer")
    parser.add_argument("--millions", type=int, default=50)
    parser.add_argument("--case", choices=CASES)
    options = parser.parse_args()
    warm_up()  # what is compiled is kept for the processes below
    for case in [options.case] if options.case else CASES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            rates = peer_rates(folder, case, options.peer) if options.peer else {}
            file = written(folder, CASES[case], options.millions * MILLION)
            (verdict, count, walk, loaded), _, _ = said(sys.executable, OURS, file)
            _, seconds, memory = said(sys.executable, WHOLE, file)
            each = walk / count * 1e6
            print(
                f"{case:33} {count / 1e6:6.1f} M operations {file.stat().st_size / 1e6:6.0f} MB, "
                f"{verdict}, walk {walk:6.3f} s ({each * 1e3:.2f} ns), code loaded {loaded:.2f} s, "
                f"process {seconds:5.2f} s {memory:4.0f} MB",
                flush=True,
            )
            if rates:
                ratio = min(rates.values()) / each
                text = ", ".join(f"{r:.3f} µs at {m} M" for m, r in rates.items())
                print(f"{'':33} picklescan {text}: {ratio:.0f} times", flush=True)


if __name__ == "__main__":
    main()
