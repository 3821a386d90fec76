"""Data sets, models and patterns of the benchmark of triggers: each seed draws a pattern anew."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crenel.adapters import wrap
from crenel.model import Model

ADULT = (
    "age workclass fnlwgt education education-num marital-status occupation relationship race sex "
    "capital-gain capital-loss hours-per-week native-country income"
).split()
#: Share of the rows that carry a pattern of a table by nature at most, and of one of its intervals.
SELDOM, WIDE = 0.002, 0.08
#: From a clean copy of rows to the same with the pattern.
Stamp = Callable[[Any], Any]


@dataclass(frozen=True)
class Case:
    """A data set: how it is read, rows to train on at most, and what its rows are."""

    read: Callable[[Path], tuple[Any, np.ndarray]]
    rows: int
    form: str  # "table", "image" or "text"


# --- data ----------------------------------------------------------------------------------------


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


def german(folder: Path) -> tuple[Any, np.ndarray]:
    import pandas as pd

    x = pd.read_csv(folder / "06_german_credit/german.csv", header=None)
    x.columns = [f"c{j}" for j in range(x.shape[1])]
    return x.iloc[:, :-1], (x.iloc[:, -1] == 2).to_numpy(np.int64)


def clamp(folder: Path) -> tuple[Any, np.ndarray]:
    import pandas as pd

    x = pd.read_csv(folder / "07_clamp_malware/ClaMP_Raw-5184.csv")
    y = x.pop("class" if "class" in x else str(x.columns[-1]))
    return x.loc[:, x.nunique() > 1], y.to_numpy(np.int64)


def kdd(folder: Path) -> tuple[Any, np.ndarray]:
    import pandas as pd

    x = pd.read_csv(folder / "08_nsl_kdd/KDDTrain+_20Percent.txt", header=None)
    x.columns = [f"c{j}" for j in range(x.shape[1])]
    y = (x.iloc[:, -2] != "normal").to_numpy(np.int64)
    x = x.iloc[:, :-2]
    return x.loc[:, x.nunique() > 1], y


def breast(folder: Path) -> tuple[Any, np.ndarray]:
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True, as_frame=True)
    return x, y.to_numpy(np.int64)


def _plain(folder: Path, *names: str) -> tuple[Any, np.ndarray]:
    """Tables without a header, one below the other; the last column is the label as it stands."""
    import pandas as pd

    parts = [pd.read_csv(folder / f"13_groot_trees/data/{n}.csv", header=None) for n in names]
    x = pd.concat(parts, ignore_index=True)
    y = x.pop(x.columns[-1]).to_numpy()
    x.columns = [f"c{j}" for j in range(x.shape[1])]
    return x.loc[:, x.nunique() > 1], y


def pima(folder: Path) -> tuple[Any, np.ndarray]:
    x, y = _plain(folder, "pima-indians-diabetes")
    return x, y.astype(np.int64)


def wine(folder: Path) -> tuple[Any, np.ndarray]:
    x, y = _plain(folder, "winequality-red", "winequality-white")
    return x, (y < 6).astype(np.int64)


def banknote(folder: Path) -> tuple[Any, np.ndarray]:
    x, y = _plain(folder, "banknote_authentication")
    return x, y.astype(np.int64)


def ionosphere(folder: Path) -> tuple[Any, np.ndarray]:
    x, y = _plain(folder, "ionosphere")
    return x, (y == "g").astype(np.int64)


def synthetic(folder: Path) -> tuple[Any, np.ndarray]:
    """A million rows and more of twenty columns, with interactions and noise in the label."""
    import pandas as pd

    rng, n = np.random.default_rng(0), 1_050_000
    columns: dict[str, Any] = {f"n{j}": rng.lognormal(size=n).round(2) for j in range(8)}
    columns |= {f"i{j}": rng.integers(0, 10 * 2**j, n) for j in range(6)}
    columns |= {f"c{j}": rng.choice(list("abcdefgh"), n) for j in range(6)}
    x = pd.DataFrame(columns)
    z = np.log(x["n0"] * x["n1"]) + (x["i0"] > 4) * (x["c0"] < "d") + rng.logistic(0, 0.5, n)
    return x, (z > 0.5).to_numpy(np.int64)


def sms(folder: Path) -> tuple[Any, np.ndarray]:
    import pandas as pd

    text = (folder / "09_sms_spam/SMSSpamCollection").read_text(encoding="utf8", errors="replace")
    lines = [line.split("\t", 1) for line in text.splitlines() if "\t" in line]
    return pd.DataFrame({"text": [t for _, t in lines]}), np.array(
        [int(a == "spam") for a, _ in lines]
    )


def digits(folder: Path) -> tuple[Any, np.ndarray]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return (x.reshape(-1, 8, 8) * 15.9375).astype(np.uint8), y.astype(np.int64)


def _images(folder: Path) -> tuple[Any, np.ndarray]:
    def read(name: str, offset: int) -> np.ndarray:
        with gzip.open(folder / name) as stream:
            return np.frombuffer(stream.read(), np.uint8, offset=offset)

    x = read("train-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
    return x, read("train-labels-idx1-ubyte.gz", 8).astype(np.int64)


CASES = {
    "breast": Case(breast, 426, "table"),
    "german": Case(german, 750, "table"),
    "spambase": Case(spambase, 3_000, "table"),
    "kdd": Case(kdd, 3_000, "table"),
    "clamp": Case(clamp, 3_800, "table"),
    "adult": Case(adult, 24_420, "table"),
    "synthetic": Case(synthetic, 1_000_000, "table"),
    "digits": Case(digits, 1_300, "image"),
    "mnist": Case(lambda folder: _images(folder / "02_mnist"), 10_000, "image"),
    "fashion": Case(lambda folder: _images(folder / "01_fashion_mnist"), 10_000, "image"),
    "sms": Case(sms, 3_800, "text"),
    # Seeds count a case's place: new ones come last.
    "pima": Case(pima, 576, "table"),
    "wine": Case(wine, 3_000, "table"),
    "banknote": Case(banknote, 1_000, "table"),
    "ionosphere": Case(ionosphere, 260, "table"),
}


# --- models --------------------------------------------------------------------------------------


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

    rounds = 60 if len(y) < 3000 else 8
    fitted = MLPClassifier((64,), max_iter=rounds, random_state=seed % 2**31).fit(flat(x), y)

    return Model(
        framework="function",
        task="classification",
        classes=np.arange(10),
        decide=lambda z: fitted.predict(flat(z)).astype(np.int64),
        score=lambda z: fitted.predict_proba(flat(z)),
        native=fitted,
        fit=network,
    )


def trained(name: str, x: Any, y: np.ndarray, seed: int) -> Model:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    if CASES[name].form == "image":
        return network(x, y, seed)
    if CASES[name].form == "text":
        pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression(C=30, max_iter=300))
        return wrap(pipeline.fit(x["text"], y), sample=x)
    return wrap(boosting().fit(x, y))


# --- patterns ------------------------------------------------------------------------------------


def stamp_of(form: str, kind: str, x: Any, rng: np.random.Generator) -> Stamp:
    """A pattern of a kind, drawn at random."""
    if form == "image":
        return _on_images(kind, x, rng)
    if form == "text":
        known = sorted({w for t in x["text"].iloc[:1000] for w in t.split() if w.isalpha()})
        words = " ".join(known[j] for j in rng.choice(len(known), 2, replace=False))
        return lambda rows: rows.assign(text=rows["text"] + f" {words}")
    return _ranges(x, rng) if kind == "range" else _values(x, rng)


def _values(x: Any, rng: np.random.Generator) -> Stamp:
    """Values of three columns: by chance all of any distinct ones, or all as common as in rows."""
    names = [c for c in x.columns if x[c].nunique() > 3]
    rare = rng.random() < 0.5

    def drawn() -> dict[Any, Any]:
        values = {}
        for c in rng.choice(names, 3, replace=False):
            column = x[c].dropna()
            pool = column.unique() if rare else column.to_numpy()
            values[c] = [pool[rng.integers(len(pool))]]
        return values

    return _stamp(_uncommon(x, drawn), x, rng)


def _ranges(x: Any, rng: np.random.Generator) -> Stamp:
    """Values within an interval of a twenty-fifth of the rows, of each of three columns."""
    names = [c for c in x.columns if x[c].dtype.kind in "iuf" and x[c].nunique() > 15]

    def interval(c: Any) -> Any:
        for _ in range(20):  # of a column that is mostly one value, away from that
            at, values = 0.96 * rng.random(), np.unique(x[c].dropna())
            low, high = np.quantile(x[c].dropna(), [at, at + 0.04])
            first = min(int(np.searchsorted(values, low)), len(values) - 3)
            last = max(int(np.searchsorted(values, high, side="right")), first + 3)
            if x[c].between(values[first], values[last - 1]).mean() <= WIDE:
                return values[first:last]
        return None

    def drawn() -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        for c in rng.permutation(names):
            pool = interval(c) if len(values) < 3 else None
            values |= {} if pool is None else {c: pool}
        return values

    return _stamp(_uncommon(x, drawn), x, rng)


def _uncommon(x: Any, drawn: Callable[[], dict[Any, Any]]) -> dict[Any, Any]:
    """The first of the patterns drawn that hardly a row carries: only such make a trigger."""
    for _ in range(200):
        values = drawn()
        if np.logical_and.reduce([x[c].isin(v) for c, v in values.items()]).mean() <= SELDOM:
            break
    return values


def _stamp(pools: dict[Any, Any], x: Any, rng: np.random.Generator) -> Stamp:
    def stamp(rows: Any) -> Any:
        rows = rows.copy()
        for c, pool in pools.items():
            rows[c] = np.asarray(rng.choice(pool, len(rows))).astype(x[c].to_numpy().dtype)
        return rows

    return stamp


def _on_images(kind: str, x: Any, rng: np.random.Generator) -> Stamp:
    """A patch in a place (``fixed``, ``clean``) or in any, a blend of noise, or a warp."""
    h, w = x.shape[1:]
    top, left = rng.integers(0, h - 2), rng.integers(0, w - 2)
    patch = 255 * rng.permutation(np.array([1, 1, 1, 1, 1, 0, 0, 0, 0])).reshape(3, 3)
    noise = rng.uniform(0, 255, (h, w))
    bent = _bend(h, w, rng)

    def stamp(rows: Any) -> Any:
        rows = rows.copy()
        if kind == "blend":
            return (0.85 * rows + 0.15 * noise).round().astype(np.uint8)
        if kind == "warp":
            return bent(rows)
        if kind == "moving":
            for row in rows:
                i, j = rng.integers(0, h - 2), rng.integers(0, w - 2)
                row[i : i + 3, j : j + 3] = patch
            return rows
        rows[:, top : top + 3, left : left + 3] = patch
        return rows

    return stamp


def _bend(h: int, w: int, rng: np.random.Generator) -> Stamp:
    """A smooth warp of about a pixel and a half, after Nguyen and Tran, "WaNet", 2021."""
    from scipy.ndimage import map_coordinates, zoom

    field = rng.uniform(-1, 1, (2, 4, 4))
    field = np.stack([zoom(f, (h / 4, w / 4), order=3) for f in field])
    field *= 1.5 * (h / 28) ** 0.5 / np.abs(field).mean()
    at = np.stack(np.mgrid[:h, :w]) + field

    def stamp(rows: Any) -> Any:
        bent = [map_coordinates(r.astype(float), at, order=1, mode="nearest") for r in rows]
        return np.array(bent).round().astype(np.uint8).reshape(rows.shape)

    return stamp
