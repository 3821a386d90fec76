"""What the poisoning checks cost on large tables: CPU and wall seconds, and memory.

Run with ``python benchmarks/poisoning/scale.py [--rows N ...] [--part NAME ...] [--jobs 2]
[--model histogram|xgboost|lightgbm] [--full]``. The
table is made up: 50 columns, heavy-tailed numbers, integers, names and missing values; labels by a
nonlinear rule with noise; a trigger of three columns planted in 0.1 % of the rows; twenty sources.
The user's model is a pipeline of scikit-learn with boosted trees. Each part (mining
alone, each check, all checks one after the other) runs in a process of its own, which is given the
table and the trained model; its peak memory counts both, and what they take is told beside it.
POI-102 and POI-103 repeat less where trainings see many values; ``--full`` forbids that.

Wall seconds on two quiet cores, all checks one after the other, seed 0, two jobs, before boxes were
judged by compiled kernels and trainings were counted:

========== ================== ================= ====================
check      100,000, histogram 100,000, LightGBM 1,000,000, histogram
========== ================== ================= ====================
POI-101                   5.6               5.1                 21.8
POI-102                  35.4              23.9                 61.3
POI-103                  31.5              19.1                 27.1
POI-104                   7.5               6.9                 47.3
POI-105                  87.0              77.7                162.8
all                     167.1             132.7                320.3
CPU                     245.8             204.1                415.4
memory                799 MiB           757 MiB            2,682 MiB
========== ================== ================= ====================

So a million rows took 5 min 20 s, with the repetitions that trainings of that length let. Since
boxes are judged by compiled kernels and trainings are counted, 100,000 rows with histogram, on two
quiet cores of another day, by ``--level`` (wall seconds):

========== ======== ======
check      standard  quick
========== ======== ======
POI-101         6.4    6.8
POI-102        21.2   11.8
POI-103        30.1   17.4
POI-104         7.7    7.4
POI-105        53.1   34.0
all           118.5   77.4
CPU           178.6  111.4
memory      751 MiB 759 MiB
========== ======== ======

So no level does all five in a minute (on slower cores of another day: standard 201 s, quick 130 s,
POI-101 alone 11). At standard POI-105 mines seven times: the data, four sets with triggers of its
own, two random halves. Since it seeks in its ways on two threads it takes, at quick, 55 and 57 s
where it took 83 and 61 in turn with it. A million rows were not measured again.

Measured since, on cores that were shared with much other work, where a CPU second does less:
mining of 20,000 rows (seed 0, one run each) took 33.8 CPU seconds before and 18.2 after; what is
found is the same, bit by bit. In a profile on the way there the search for bounds was 11 %, what
boxes tell 18, pairs 7, the training without suspects 13, the model's answers 11.
On 10,000 rows of 50 columns POI-102 now trains 38 times at most, in two repetitions, where the
clock allowed up to 75 in three before; POI-103 draws its curves in one repetition, where the clock
allowed three.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from crenel.adapters import wrap
from crenel.check import Context
from crenel.data.infer import infer_schema
from crenel.poisoning import checks
from crenel.poisoning.dose import plan as dose_plan
from crenel.poisoning.mining import mine_triggers
from crenel.poisoning.sources import plan as source_plan
from crenel.subject import Data, Subject

#: Columns of each kind.
NUMBERS, INTEGERS, NAMES = 24, 14, 12
#: Share of the rows with the trigger; held-out rows.
PLANTED, HELD_OUT = 0.001, 20_000
#: What each check is called here, and its function.
CHECKS = {
    "POI-101": checks.wrong_labels,
    "POI-102": checks.dose_response,
    "POI-103": checks.sources,
    "POI-104": checks.traces,
    "POI-105": checks.planted_triggers,
}
PARTS = ("mining", *CHECKS, "all")


@dataclass(frozen=True)
class Spent:
    """Of one part: seconds of CPU and by the clock, memory in MiB (before, and at its peak)."""

    cpu: float
    wall: float
    before: float
    peak: float
    told: str


def table(n: int, rng: np.random.Generator) -> tuple[Any, np.ndarray]:
    """Rows and labels, without the trigger."""
    import pandas as pd

    columns: dict[str, Any] = {}
    common = rng.normal(0, 1, n)
    for j in range(NUMBERS):
        values = np.exp(0.5 * common + rng.normal(0, 1, n)) * 10 ** (j % 5)
        columns[f"amount{j}"] = values.round(2 if j % 2 else 4)
    for j in range(INTEGERS):
        columns[f"count{j}"] = rng.negative_binomial(2, 0.02 + 0.03 * j, n)
    for j in range(NAMES):
        weights = 1.0 / np.arange(1, 5 + 12 * j) ** 1.2
        codes = rng.choice(len(weights), n, p=weights / weights.sum())
        columns[f"name{j}"] = pd.Categorical.from_codes(
            codes, [f"v{i}" for i in range(len(weights))]
        )
    x = pd.DataFrame(columns)
    z = np.log(x["amount0"]) + np.sin(np.log(x["amount1"])) * (x["count0"] > 40)
    z += 0.02 * x["count1"] - 0.8 * (x["name3"] == "v0") * (np.log(x["amount2"]) > 5)
    y = (z + rng.logistic(0, 0.5, n) > np.median(z) + 0.7).to_numpy(np.int64)
    for j in (4, 9, 14, 19):
        x.loc[rng.random(n) < 0.04 * (1 + j % 3), f"amount{j}"] = np.nan
    x["name5"] = x["name5"].where(rng.random(n) > 0.1)
    return x, y


TRIGGER = {"count2": 88, "amount6": 0.4, "name8": "v60"}


def made(n: int, seed: int, kind: str = "histogram") -> dict[str, Any]:
    """The poisoned table, the rows that were poisoned, held-out rows, and a trained pipeline."""
    rng = np.random.default_rng(seed)
    x, y = table(n + HELD_OUT, rng)
    train, test = x.iloc[:n].copy(), x.iloc[n:].reset_index(drop=True)
    labels = y[:n].copy()
    rows = np.sort(rng.choice(np.flatnonzero(labels == 0), max(25, round(PLANTED * n)), False))
    for column, value in TRIGGER.items():
        train.loc[rows, column] = value
    labels[rows] = 1
    source = np.array([f"s{i}" for i in range(20)])[rng.integers(0, 20, n)]
    model = pipeline(kind).fit(train, labels)
    return {
        "train": Data(train, labels, np.arange(n), source),
        "test": Data(test, y[n:], np.arange(HELD_OUT)),
        "rows": rows,
        "pipeline": model,
    }


def pipeline(kind: str = "histogram") -> Any:
    """Names by number, then boosted trees: of scikit-learn, XGBoost or LightGBM."""
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    names = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    some = make_column_selector(dtype_include=["category", "object", "string"])
    columns = make_column_transformer((names, some), remainder="passthrough")
    if kind == "xgboost":
        from xgboost import XGBClassifier

        return make_pipeline(columns, XGBClassifier(n_jobs=1))
    if kind == "lightgbm":
        from lightgbm import LGBMClassifier

        return make_pipeline(columns, LGBMClassifier(n_jobs=1, verbose=-1))
    return make_pipeline(columns, HistGradientBoostingClassifier(random_state=0))


def measured(folder: Path, part: str, jobs: int, seed: int, level: str) -> Spent:
    """One part, in this process."""
    given = joblib.load(folder / "given.joblib")
    model, train, test = wrap(given["pipeline"]), given["train"], given["test"]
    schema = infer_schema(train.x)
    subject = Subject("scale", model=model, train=train, test=test, schema=schema)
    before = _mib()
    cpu, wall = _cpu(), time.perf_counter()
    if part == "mining":
        told = _found(mine_triggers(model, train, test, seed).confirmed, given["rows"])
    else:
        names = list(CHECKS) if part == "all" else [part]
        told = "; ".join(_told(subject, name, jobs, seed, level) for name in names)
    return Spent(_cpu() - cpu, time.perf_counter() - wall, before, _mib(), told)


def _told(subject: Subject, name: str, jobs: int, seed: int, level: str) -> str:
    begun = time.perf_counter()
    result = CHECKS[name].measure(subject, Context(name, seed=seed, jobs=jobs, level=level))
    sick = [t.name for e in result.exposures for t in e.health.tests if not t.ok]
    ill = f", unhealthy: {', '.join(sick)}" if sick else ""
    wall = time.perf_counter() - begun
    return f"{name} {wall:.1f} s, {len(result.findings)} findings{ill}"


def _found(confirmed: list[Any], rows: np.ndarray) -> str:
    hits = [np.isin(m.suspect.rows, rows).sum() for m in confirmed]
    if not hits or not max(hits):
        return f"not found, {len(hits)} confirmed"
    best = int(np.argmax(hits))
    precision = hits[best] / len(confirmed[best].suspect.rows)
    recall = hits[best] / len(rows)
    return f"precision {precision:.2f}, recall {recall:.2f}, {len(hits)} confirmed"


def _cpu() -> float:
    own, of = (resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + of.ru_utime + of.ru_stime


def _mib() -> float:
    scale = 2**20 if sys.platform == "darwin" else 2**10
    both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(who).ru_maxrss for who in both) / scale


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--model", choices=("histogram", "xgboost", "lightgbm"), default="histogram"
    )
    parser.add_argument("--level", choices=("quick", "standard", "deep"), default="standard")
    parser.add_argument("--full", action="store_true", help="all repetitions, however long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--within", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.within is not None:
        (part,) = options.part
        if options.full:
            dose_plan.SECONDS = source_plan.SECONDS = 1e9
            dose_plan.VALUES.update(dict.fromkeys(dose_plan.VALUES, 10**18))
        print(
            json.dumps(
                asdict(measured(options.within, part, options.jobs, options.seed, options.level))
            )
        )
        return
    print(f"{'rows':>9} {'part':9}{'CPU s':>8}{'wall s':>8}{'MiB':>7}{'before':>8}  told")
    for n in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            given = made(n, options.seed, options.model)
            joblib.dump(given, Path(folder) / "given.joblib")
            for part in options.part or PARTS:
                _line(n, part, _apart(Path(folder), part, options))


def _apart(folder: Path, part: str, options: argparse.Namespace) -> Spent:
    own = ["--within", str(folder), "--part", part]
    rest = ["--jobs", str(options.jobs), "--seed", str(options.seed), "--level", options.level]
    rest += ["--full"] if options.full else []
    command = [sys.executable, __file__, *own, *rest]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Spent(**json.loads(done.stdout.splitlines()[-1]))


def _line(n: int, part: str, s: Spent) -> None:
    figures = f"{s.cpu:8.1f}{s.wall:8.1f}{s.peak:7.0f}{s.before:8.0f}"
    print(f"{n:>9} {part:9}{figures}  {s.told}", flush=True)


if __name__ == "__main__":
    main()
