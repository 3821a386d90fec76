"""The whole audit of an Adult-sized table: 32,000 rows, 14 columns, strings, missing values.

Trains gradient boosting in a Pipeline, writes it with its data and a crenel.toml, audits it by the
command in a process of its own, and prints every check's outcome and time, the whole time and the
peak memory of the largest process. Needs adult-train.csv and adult-test.csv (UCI, Kohavi, 1996) in
the folder given, or in ../shared/data/04_adult.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COLUMNS = (
    "age workclass fnlwgt education education-num marital-status occupation relationship race sex "
    "capital-gain capital-loss hours-per-week native-country income"
).split()


def write(data: Path, folder: Path) -> Path:
    """Train and write everything; return the path of crenel.toml."""
    import joblib
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    tables = {}
    for name in ("train", "test"):
        table = pd.read_csv(
            data / f"adult-{name}.csv", names=COLUMNS, na_values="?", skipinitialspace=True
        )
        table["income"] = table["income"].str.rstrip(".")
        # A plausible supplier: four offices of very different size.
        table["office"] = ["north", "south", "east", "east", "east", "west"] * (len(table) // 6) + [
            "north"
        ] * (len(table) % 6)
        table.to_csv(folder / f"{name}.csv", index=False)
        tables[name] = table.drop(columns="office")
    x, y = tables["train"].drop(columns="income"), tables["train"]["income"]
    words = x.select_dtypes(exclude="number").columns
    encode = make_column_transformer(
        (
            OrdinalEncoder(
                handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2
            ),
            list(words),
        ),
        remainder="passthrough",
    )
    model = make_pipeline(encode, HistGradientBoostingClassifier(random_state=0)).fit(x, y)
    joblib.dump(model, folder / "model.joblib")
    config = folder / "crenel.toml"
    config.write_text(
        '[target.adult]\nmodel = "model.joblib"\ntrain = "train.csv"\ntest = "test.csv"\n'
        'label = "income"\nsource = "office"\n[audit]\ntime = "5m"\n'
    )
    return config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?", type=Path, default=Path("../shared/data/04_adult"))
    parser.add_argument("--time", default="5m")
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    if not (given.data / "adult-train.csv").is_file():
        print(f"skipped: there is no adult-train.csv in {given.data}")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = write(given.data, folder)
        out = given.out or folder / "out"
        started = time.monotonic()
        command = [sys.executable, "-m", "crenel", "audit", str(config), "--out", str(out)]
        code = subprocess.run([*command, "--time", given.time], check=False).returncode
        seconds = time.monotonic() - started
        report = json.loads((out / "report.json").read_text())
        for o in report["outcomes"]:
            print(f"{o['check']} {o['outcome']:<15} {o['seconds']:6.1f} s  {o['reason']}")
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        print(f"exit {code}, {seconds:.0f} s in all, peak {peak:.2f} GiB in the largest process")


if __name__ == "__main__":
    main()
