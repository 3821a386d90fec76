"""The tables, models and rules by hand of fields.py: five real tables, three Pipelines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).parents[3] / "shared" / "data"
ADULT = (
    "age workclass fnlwgt education education-num marital-status occupation relationship race sex "
    "capital-gain capital-loss hours-per-week native-country income"
).split()
GERMAN = (
    "status duration history purpose amount savings employment rate personal debtors residence "
    "property age plans housing credits job people telephone foreign risk"
).split()
KDD = (
    "duration protocol_type service flag src_bytes dst_bytes land wrong_fragment urgent hot "
    "num_failed_logins logged_in num_compromised root_shell su_attempted num_root "
    "num_file_creations num_shells num_access_files num_outbound_cmds is_host_login "
    "is_guest_login count srv_count serror_rate srv_serror_rate rerror_rate srv_rerror_rate "
    "same_srv_rate diff_srv_rate srv_diff_host_rate dst_host_count dst_host_srv_count "
    "dst_host_same_srv_rate dst_host_diff_srv_rate dst_host_same_src_port_rate "
    "dst_host_srv_diff_host_rate dst_host_serror_rate dst_host_srv_serror_rate "
    "dst_host_rerror_rate dst_host_srv_rerror_rate label difficulty"
).split()


@dataclass(frozen=True)
class Table:
    """A data set, with the rules between its columns and those that nobody can change."""

    name: str
    train: Any
    y: Any
    test: Any
    truth: Any
    held: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()


def adult(n: int) -> Table:
    import pandas as pd

    parts = [
        pd.read_csv(DATA / "04_adult" / f"adult-{p}.csv", names=ADULT, skipinitialspace=True,
                    na_values="?")
        for p in ("train", "test")
    ]  # fmt: skip
    x = pd.concat([p.sample(n, random_state=0) for p in parts], ignore_index=True)
    y = x.pop("income").str.startswith(">").astype(int).to_numpy()
    return Table(
        "adult", x[:n], y[:n], x[n:].reset_index(drop=True), y[n:],
        ("age", "race", "sex", "native-country", "fnlwgt"),
        ("`capital-gain` == 0 or `capital-loss` == 0",),
    )  # fmt: skip


def german(n: int) -> Table:
    import pandas as pd

    x = pd.read_csv(DATA / "06_german_credit" / "german.csv", names=GERMAN)
    x = x.sample(frac=1, random_state=0, ignore_index=True)
    y = (x.pop("risk") == 2).astype(int).to_numpy()
    return _halved("german", x, y, ("age", "personal", "foreign"), ())


def spambase(n: int) -> Table:
    import pandas as pd

    x = pd.read_csv(DATA / "05_spambase" / "spambase.csv")
    x = x.sample(min(n * 2, len(x)), random_state=0, ignore_index=True)
    y = x.pop("type")
    y = (y.astype(str).isin(["spam", "1", "1.0"])).astype(int).to_numpy()
    rules = ("capitalAve <= capitalLong", "capitalLong <= capitalTotal")
    return _halved("spambase", x, y, (), rules)


def clamp(n: int) -> Table:
    import pandas as pd

    x = pd.read_csv(DATA / "07_clamp_malware" / "ClaMP_Raw-5184.csv")
    x = x.sample(min(n * 2, len(x)), random_state=0, ignore_index=True)
    y = x.pop("class").to_numpy().astype(int)
    return _halved("clamp", x, y, ("Machine", "Magic", "e_magic"), ())


def kdd(n: int) -> Table:
    import pandas as pd

    folder = DATA / "08_nsl_kdd"
    files = ("KDDTrain+_20Percent.txt", "KDDTest+.txt")
    parts = [pd.read_csv(folder / f, names=KDD) for f in files]
    x = pd.concat([p.sample(n, random_state=0) for p in parts], ignore_index=True)
    y = (x.pop("label") != "normal").astype(int).to_numpy()
    x = x.drop(columns="difficulty")
    return Table(
        "kdd", x[:n], y[:n], x[n:].reset_index(drop=True), y[n:], ("land",),
        ("count >= 1 or count == 0", "is_guest_login <= 1"),
    )  # fmt: skip


def _halved(name: str, x: Any, y: Any, held: tuple[str, ...], rules: tuple[str, ...]) -> Table:
    half = len(x) // 2
    rest = x[half:].reset_index(drop=True)
    return Table(name, x[:half], y[:half], rest, y[half:], held, rules)


TABLES = {"adult": adult, "german": german, "spambase": spambase, "kdd": kdd, "clamp": clamp}


def pipeline(kind: str, x: Any) -> Any:
    """An untrained Pipeline over the raw columns."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, QuantileTransformer, StandardScaler

    words = [c for c in x if x[c].dtype.kind not in "iuf"]
    numbers = [c for c in x if c not in words and x[c].nunique() > 1]
    scale = StandardScaler() if kind != "mlp" else QuantileTransformer(n_quantiles=200)
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), words), (scale, numbers)
    )
    last = {
        "forest": RandomForestClassifier(60, random_state=0, n_jobs=1),
        "boosting": HistGradientBoostingClassifier(max_iter=80, random_state=0),
        # a tenth of 500 rows is too few to stop by: it stopped at nearly always the same decision
        "mlp": MLPClassifier((64,), max_iter=60, early_stopping=len(x) > 2000, random_state=0),
    }[kind]
    return make_pipeline(encode, last)


@dataclass(frozen=True)
class Seen:
    """What a column holds: its values if words, its range and whether all are whole numbers."""

    values: frozenset[str] | None
    low: float
    high: float
    whole: bool
    missing: bool


def seen_in(known: Any) -> dict[str, Seen]:
    """What the columns of a table hold."""
    out = {}
    for name in known.columns:
        column, missing = known[name].dropna(), bool(known[name].isna().any())
        if column.dtype.kind in "iuf":
            whole = bool((column == column.round()).all())
            out[name] = Seen(None, column.min(), column.max(), whole, missing)
        else:
            out[name] = Seen(frozenset(column), np.nan, np.nan, False, missing)
    return out


def valid(t: Table, x0: Any, x1: Any, seen: dict[str, Seen]) -> np.ndarray:
    """Which rows an attacker could really submit; independent of the library."""
    ok = np.ones(len(x0), dtype=bool)
    for name in x0.columns:
        before, after, facts = x0[name].to_numpy(), x1[name].to_numpy(), seen[name]
        same = (before == after) | (x0[name].isna() & x1[name].isna()).to_numpy()
        gone = x1[name].isna().to_numpy()
        if facts.values is not None:
            fine = np.array([b in facts.values for b in after], dtype=bool)
        else:
            fine = (facts.low <= after) & (after <= facts.high)
            fine &= np.array(not facts.whole) | (after == np.round(after))
        fine = np.where(gone, facts.missing, fine) & (name not in t.held)
        ok &= same | fine
    for rule in t.rules:
        ok &= np.asarray(x1.eval(rule)) | ~np.asarray(x0.eval(rule))
    return ok
