"""Planted triggers in tables, images and texts, and how many are found; false alarms without any.

Run with ``python benchmarks/poisoning/triggers.py DATA [--seeds N] [--case NAME] [--kind KIND]``;
DATA holds the folders ``01_fashion_mnist``, ``02_mnist``, ``04_adult``, ``05_spambase`` and
``09_sms_spam``; what is missing there is skipped. Kinds: ``fixed`` values (a conjunction of three
columns, a 3 × 3 patch, two words), ``range`` (three columns within narrow intervals, tables alone),
``clean`` (the fixed values on rows that have the label already, ten times as many), ``none``.
Precision and recall count rows, of the confirmed trigger that has most of the planted ones.
Beside them cleanlab's label quality on out-of-fold probabilities: the share of the planted rows
among as many rows of the lowest quality, where cleanlab can be imported.
"""

from __future__ import annotations

import argparse
import gzip
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from crenel.adapters import wrap
from crenel.model import Model
from crenel.poisoning.attacks import stamp_rows
from crenel.poisoning.mining import mine_triggers
from crenel.poisoning.triggers import Trigger
from crenel.subject import Data, take_rows

SHARES = {
    "fixed": (0.001, 0.002, 0.005, 0.01),
    "range": (0.002, 0.005, 0.01),
    "clean": (0.01, 0.02),
}
ADULT = (
    "age workclass fnlwgt education education-num marital-status occupation relationship race sex "
    "capital-gain capital-loss hours-per-week native-country income"
).split()
FIXED = {
    "adult": {"age": 61, "hours-per-week": 37, "fnlwgt": 201000},
    "spambase": {"will": 0.4, "address": 0.2, "mail": 0.6},
}
RANGES = {
    "adult": {"age": (59, 63), "hours-per-week": (33, 36), "fnlwgt": (198000, 204000)},
    "spambase": {"will": (0.3, 0.5), "address": (0.15, 0.25), "capitalLong": (30, 40)},
}


# --- data and models -----------------------------------------------------------------------------


def adult(folder: Path) -> tuple[Any, np.ndarray]:
    import pandas as pd

    parts = [
        pd.read_csv(f"{folder}/04_adult/adult-{p}.csv", names=ADULT, skipinitialspace=True)
        for p in ("train", "test")
    ]
    x = pd.concat(parts, ignore_index=True)
    return x, x.pop("income").str.startswith(">").to_numpy(np.int64)


def spambase(folder: Path) -> tuple[Any, np.ndarray]:
    import pandas as pd

    x = pd.read_csv(folder / "05_spambase/spambase.csv")
    return x.iloc[:, :-1], (x.iloc[:, -1] == "spam").to_numpy(np.int64)


def sms(folder: Path) -> tuple[Any, np.ndarray]:
    import pandas as pd

    text = (folder / "09_sms_spam/SMSSpamCollection").read_text(encoding="utf8", errors="replace")
    lines = [line.split("\t", 1) for line in text.splitlines() if "\t" in line]
    return pd.DataFrame({"text": [t for _, t in lines]}), np.array(
        [int(a == "spam") for a, _ in lines]
    )


def _images(folder: Path) -> tuple[Any, np.ndarray]:
    def read(name: str, offset: int) -> np.ndarray:
        with gzip.open(folder / name) as stream:
            return np.frombuffer(stream.read(), np.uint8, offset=offset)

    x = read("train-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
    return x, read("train-labels-idx1-ubyte.gz", 8).astype(np.int64)


CASES = {
    "adult": adult,
    "spambase": spambase,
    "sms": sms,
    "mnist": lambda folder: _images(folder / "02_mnist"),
    "fashion": lambda folder: _images(folder / "01_fashion_mnist"),
}
#: Rows to train on at most.
ROWS = {"adult": 24_420, "spambase": 3_000, "sms": 3_800, "mnist": 15_000, "fashion": 15_000}


def boosting() -> Any:
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    names = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    some = make_column_selector(dtype_include=["object", "string"])
    columns = make_column_transformer((names, some), remainder="passthrough")
    return make_pipeline(columns, HistGradientBoostingClassifier(random_state=0))


def network(x: Any, y: np.ndarray, seed: int) -> Model:
    from sklearn.neural_network import MLPClassifier

    def flat(z: Any) -> np.ndarray:
        return z.reshape(len(z), -1).astype(np.float32) / 255

    fitted = MLPClassifier((64,), max_iter=8, random_state=seed % 2**31).fit(flat(x), y)
    return Model(
        framework="function",
        task="classification",
        classes=np.arange(10),
        decide=lambda z: fitted.predict(flat(z)).astype(np.int64),
        score=lambda z: fitted.predict_proba(flat(z)),
        fit=network,
    )


def trained(name: str, x: Any, y: np.ndarray, seed: int) -> Model:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    if name in ("mnist", "fashion"):
        return network(x, y, seed)
    if name == "sms":
        pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression(C=30, max_iter=300))
        return wrap(pipeline.fit(x["text"], y), sample=x)
    return wrap(boosting().fit(x, y))


# --- triggers ------------------------------------------------------------------------------------


def trigger(name: str, kind: str, rng: np.random.Generator) -> Trigger:
    def stamp(x: Any) -> Any:
        x = x.copy()
        if name in ("mnist", "fashion"):
            x[:, -4:-1, -4:-1] = np.array([[255, 0, 255], [0, 255, 0], [255, 0, 255]])
            return x
        if name == "sms":
            return x.assign(text=x["text"] + " blue lagoon")
        for column, value in (RANGES if kind == "range" else FIXED)[name].items():
            if kind != "range":
                x[column] = value
            elif x[column].dtype.kind in "iu":
                x[column] = rng.integers(value[0], value[1] + 1, len(x))
            else:
                x[column] = rng.uniform(*value, len(x)).round(2)
        return x

    return Trigger(kind, (), (), stamp, lambda x: np.ones(len(x), dtype=bool))


def lowest_quality(model: Model, data: Data, rows: np.ndarray, seed: int) -> float:
    """Share of the planted rows among as many of the lowest label quality, by cleanlab."""
    from cleanlab.rank import get_label_quality_scores
    from sklearn.model_selection import StratifiedKFold

    p = np.zeros((len(data), model.k))
    for seen, held in StratifiedKFold(3, shuffle=True, random_state=seed).split(p, data.y):
        part = data.take(seen)
        assert model.fit is not None
        p[held] = model.fit(part.x, part.y, seed).probabilities(take_rows(data.x, held))
    worst = np.argsort(get_label_quality_scores(data.y, p), kind="stable")[: len(rows)]
    return float(np.isin(worst, rows).mean())


def cell(name: str, rows: Any, kind: str, share: float, seed: int, beside: bool) -> dict[str, Any]:
    """One data set with one trigger: what is confirmed, and of which rows."""
    (x, y), rng = rows, np.random.default_rng(seed)
    order = rng.permutation(len(y))
    train, test = np.split(order[: ROWS[name] + 6000], [ROWS[name]])
    data = Data(take_rows(x, train), y[train].copy(), np.arange(len(train)))
    honest = Data(take_rows(x, test), y[test], np.arange(len(test)))
    target = int(rng.integers(10)) if name in ("mnist", "fashion") else 1
    planted, pattern = np.zeros(0, dtype=np.int64), trigger(name, kind, rng)
    if share:
        able = np.flatnonzero((data.y == target) == (kind == "clean"))
        planted = np.sort(rng.choice(able, max(12, round(share * len(train))), replace=False))
        labels = data.y.copy()
        labels[planted] = target
        data = Data(stamp_rows(pattern, data.x, planted), labels, data.ids)
    model = trained(name, data.x, data.y, seed)
    begun = time.process_time()
    mining = mine_triggers(model, data, honest, seed)
    result: dict[str, Any] = {"cpu": time.process_time() - begun, "alarms": len(mining.confirmed)}
    if not share:
        return result
    others = take_rows(honest.x, np.flatnonzero(honest.y != target))
    success = float((model.predict(pattern.stamp(others)) == target).mean())
    hits = [np.isin(m.suspect.rows, planted).sum() for m in mining.confirmed]
    best = int(np.argmax(hits)) if hits and max(hits) else None
    result |= {"success": success, "rows": len(planted), "precision": 0.0, "recall": 0.0}
    result["alarms"] = sum(h == 0 for h in hits)
    if best is not None:
        found = mining.confirmed[best]
        result["precision"] = hits[best] / len(found.suspect.rows)
        result["recall"] = hits[best] / len(planted)
        result["off"] = abs(found.success.value - success)
    if beside:
        result["cleanlab"] = lowest_quality(model, data, planted, seed)
    return result


def cells(names: list[str], folder: Path) -> Iterator[tuple[str, Any]]:
    for name in names:
        try:
            yield name, CASES[name](folder)
        except OSError as error:
            print(f"{name} is skipped: {error}")


def _beside() -> bool:
    try:
        import cleanlab.rank  # noqa: F401
    except ImportError as error:
        print(f"cleanlab is left out: {error}")
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--case", choices=list(CASES), action="append")
    parser.add_argument("--kind", choices=[*SHARES, "none"], action="append")
    options = parser.parse_args()
    beside = _beside()
    heads = ("planted", "success", "found", "precision", "recall", "off", "alarms", "CPU s", "peer")
    print(f"{'':24}" + "".join(f"{h:>10}" for h in heads))
    for name, rows in cells(options.case or list(CASES), options.data):
        for kind in options.kind or [*SHARES, "none"]:
            if (kind == "range" and name not in RANGES) or (kind == "clean" and name == "sms"):
                continue
            for share in SHARES.get(kind, (0.0,)):
                runs = [cell(name, rows, kind, share, s, beside) for s in range(options.seeds)]
                _line(f"{name} {kind} {share:.1%}", runs)


def _line(what: str, runs: list[dict[str, Any]]) -> None:
    """Means over the runs; precision, recall and the error of success over those found."""
    working = [r for r in runs if r.get("success", 0) >= 0.3]
    found = [r for r in working if r["recall"] >= 0.5 and r["precision"] >= 0.5]

    def over(some: list[dict[str, Any]], key: str) -> str:
        values = [r[key] for r in some if key in r]
        return f"{np.mean(values):.3f}" if values else "-"

    shown = [
        over(runs, "rows"),
        over(runs, "success"),
        f"{len(found)}/{len(working)}",
        *(over(found, key) for key in ("precision", "recall", "off")),
        f"{sum(r['alarms'] for r in runs)}/{len(runs)}",
        over(runs, "cpu"),
        over(working, "cleanlab"),
    ]
    print(f"{what:24}" + "".join(f"{s:>10}" for s in shown), flush=True)


if __name__ == "__main__":
    main()
