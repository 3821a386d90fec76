"""Audit of a difference: are harmful changes of a snapshot told, and sound ones left alone?

Run with ``python benchmarks/poisoning/changes.py ADULT_FOLDER [--seeds N]``, the folder with
``adult-train.csv`` (UCI Adult). To a snapshot of 6,000 rows from three vendors a fourth adds 300:
sound ones; with a share of labels turned; or all sound while 300 old rows of one vendor are
relabelled. ``crenel provenance diff --audit-difference`` is asked each time. Shares of seeds in
which the changed rows are found to do harm, and seconds of CPU.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from crenel.auditor.changes import audit_change
from crenel.auditor.job import read_job
from crenel.provenance.rows import Roles
from crenel.provenance.snapshots import compare_snapshots

NAMES = "age work weight education years marital job relation race sex gain loss hours country"
CONFIG = """
[target.adult]
model = "model.joblib"
train = "old.csv"
test = "test.csv"
label = "income"
source = "vendor"
record_id = "id"
[audit]
time = "120s"
jobs = 1
seed = {seed}
"""
Frame = pd.DataFrame


def turned(frame: Frame, share: float, rng: np.random.Generator) -> Frame:
    """A share of the labels turned."""
    rows = rng.random(len(frame)) < share
    other = frame["income"].map({"<=50K": ">50K", ">50K": "<=50K"})
    return frame.assign(income=frame["income"].where(~rows, other))


def adding(share: float) -> Callable[[Frame, Frame, np.random.Generator], Frame]:
    return lambda old, more, rng: pd.concat([old, turned(more, share, rng)])


def relabelling(old: Frame, more: Frame, rng: np.random.Generator) -> Frame:
    """300 rows of vendor a have their labels turned."""
    rows = rng.choice(old.index[old["vendor"] == "a"], 300, replace=False)
    return pd.concat([old.drop(index=rows), turned(old.loc[rows], 1.0, rng)]).sort_index()


CASES = {
    "300 sound rows added": adding(0.0),
    "a tenth of them turned": adding(0.1),
    "a third of them turned": adding(0.33),
    "all of them turned": adding(1.0),
    "300 old rows relabelled": relabelling,
}


def one(adult: Frame, case: Callable[..., Frame], seed: int, folder: Path) -> tuple[int, float]:
    """The exit code of the audit, and seconds of CPU of this process and its worker."""
    rng = np.random.default_rng(seed)
    drawn = adult.sample(9300, random_state=seed).reset_index(drop=True)
    drawn["id"] = np.arange(len(drawn))
    old, more, test = drawn[:6000], drawn[6000:6300], drawn[6300:]
    old = old.assign(vendor=rng.choice(list("abc"), len(old)))
    more = more.assign(vendor="d")
    old.to_csv(folder / "old.csv", index=False)
    case(old, more, rng).to_csv(folder / "new.csv", index=False)
    test.to_csv(folder / "test.csv", index=False)
    x = old.drop(columns=["income", "vendor", "id"])
    words = make_column_selector(dtype_exclude="number")
    numbers = make_column_selector(dtype_include="number")
    encoder = (OneHotEncoder(handle_unknown="ignore"), words), (StandardScaler(), numbers)
    model = make_pipeline(make_column_transformer(*encoder), LogisticRegression(max_iter=300))
    joblib.dump(model.fit(x, old["income"]), folder / "model.joblib")
    (folder / "crenel.toml").write_text(CONFIG.format(seed=seed))
    started = sum(os.times()[:4])
    roles = Roles("income", "vendor", ("id",))
    (change,) = compare_snapshots(folder / "old.csv", folder / "new.csv", roles)
    with contextlib.redirect_stderr(io.StringIO()):
        audited = audit_change(read_job(folder), change, folder)
    return audited.exit_code, sum(os.times()[:4]) - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    file = given.folder / "adult-train.csv"
    names = [*NAMES.split(), "income"]
    adult = pd.read_csv(file, names=names, skipinitialspace=True, na_values="?").dropna()
    for name, case in CASES.items():
        started = time.perf_counter()
        codes, seconds = [], []
        for seed in range(given.seeds):
            with tempfile.TemporaryDirectory() as folder:
                code, spent = one(adult, case, seed, Path(folder))
            codes.append(code)
            seconds.append(spent)
        found, open_ = codes.count(1), codes.count(2)
        print(
            f"{name:<26} harm found in {found} of {given.seeds}, unanswered {open_}; "
            f"{np.median(seconds):.1f} s CPU, {time.perf_counter() - started:.0f} s in all",
            flush=True,
        )


if __name__ == "__main__":
    main()
