"""Claim: smallest changes that turn tree ensembles, exact, faster than the peers, all valid.

Run:  python benchmarks/evasion/trees.py [--quick] [--rows N] [--json FILE] [--only NAME ...]
          [--veritas-python PATH] [--art-python PATH]

1. Published truths: adversarial accuracy of the 140 GROOT trees; mean distances of the XGBoost
   forest of breast cancer by enumeration.
2. Against Veritas (dtai-veritas, Devos et al., 2021): XGBoost and random forests, same models
   and rows, one thread, CPU time after compilation; distances compared row by row.
3. Against ART's HopSkipJump and ZOO, which prove nothing: our exact search, our fast one
   (``exact=False``) and its first part alone (``node_limit=0``) on the very rows that the peer
   attacked, reading the model and asking it of the witnesses included; row by row whether ours is
   ever farther, in L-inf, which HopSkipJump is set to minimise, and for ZOO in L2, its own, too.
   "floor" is the time of the two batches of predictions that no valid search can do without.
Reached on two busy cores, the model's saving of itself included and its trees read in an earlier
call, times faster than HopSkipJump (rows farther in L-inf: none, exact or fast): breast cancer,
XGBoost 100x5, 167 rows: exact 2,113, fast 3,525; digits, ten classes, 194 rows: 847 and 1,151;
breast cancer, random forest 100x6, 19 rows of eleven seconds each: 122 and 3,783; Pima, XGBoost
200x5, 176 rows: 336 and 801 (with half its boxes fast was 971 times faster, and farther on four).
Than ZOO, which turns 28 to 88 % of the rows: exact 214, 89, 21 and 64, fast 433, 144, 1,776 and
135 times, never farther in L-inf. What no valid search can do without is 5,400 to 10,000 times
faster than ZOO: a thousand times would leave us five to ten times these two batches of predictions.
Than Veritas, which is never nearer where ours is decided: XGBoost on Pima 22 to 36 times, breast
cancer 15, digits 16 to 20, Fashion-MNIST 200x8 (200 rows) 11, random forests 25x6 11 and 100x6 24
(a fifth of its forest witnesses turn the model). Of 200 Fashion rows 184 are decided with the usual
200,000 boxes and 192 within 5 %; on one of the others Veritas finds a row at 21 grey levels where
ours lies at 22 and is told to lie between 21 and 22 (three million boxes find it).
Images in whole grey levels (``integer``), Fashion-MNIST, XGBoost 200x8, 100 rows: 94 decided with
the usual 200,000 boxes in .03 CPU seconds a row, 99 with 40 million in 1.0; the last lies between
two neighbouring levels, within 5 %.
Peers run in the environment of the given Python (this one by default; PYTHONPATH is passed on)
and stop after --peer-seconds each; without them only our own figures are printed.
"""

from __future__ import annotations

import argparse
import gzip
import json
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
PEERS = Path(__file__).with_name("trees_peers.py")


def scaled(x: Any) -> Any:
    return ((x - x.min(0)) / np.maximum(np.ptp(x, axis=0), 1e-12)).astype(np.float32)


def split(x: Any, y: Any) -> Any:
    from sklearn.model_selection import train_test_split

    return train_test_split(scaled(x), y, test_size=0.3, random_state=0)


def breast_cancer() -> Any:
    from sklearn.datasets import load_breast_cancer

    return split(*load_breast_cancer(return_X_y=True))


def pima() -> Any:
    file = SHARED / "13_groot_trees" / "data" / "pima-indians-diabetes.csv"
    table = np.loadtxt(file, delimiter=",")
    return split(table[:, :-1], table[:, -1].astype(int))


def digits() -> Any:
    from sklearn.datasets import load_digits

    return split(*load_digits(return_X_y=True))


def sneaker_boot() -> Any:
    """Fashion-MNIST's classes 7 and 9: 784 columns in [0, 1]."""

    def read(name: str, offset: int) -> Any:
        with gzip.open(SHARED / "01_fashion_mnist" / name) as file:
            return np.frombuffer(file.read(), dtype=np.uint8, offset=offset)

    parts = []
    for kind in ("train", "t10k"):
        x = read(f"{kind}-images-idx3-ubyte.gz", 16).reshape(-1, 784)
        y = read(f"{kind}-labels-idx1-ubyte.gz", 8)
        kept = (y == 7) | (y == 9)
        parts.append(((x[kept] / 255).astype(np.float32), (y[kept] == 9).astype(int)))
    return parts[0][0], parts[1][0], parts[0][1], parts[1][1]


def grey_levels() -> Any:
    """The same in whole levels from 0 to 255, as images hold them."""
    a, b, *labels = sneaker_boot()
    return np.round(a * 255), np.round(b * 255), *labels


def boosted(trees: int, depth: int) -> Callable[[], Any]:
    def make() -> Any:
        import xgboost

        return xgboost.XGBClassifier(n_estimators=trees, max_depth=depth, n_jobs=1)

    return make


def forest(trees: int, depth: int | None, kind: str = "RandomForestClassifier") -> Any:
    def make() -> Any:
        import sklearn.ensemble

        return getattr(sklearn.ensemble, kind)(trees, max_depth=depth, random_state=0)

    return make


#: Name: data, model, rows, rows with --quick.
SUBJECTS: dict[str, tuple[Any, Any, int, int]] = {
    "breast-cancer xgboost 100x5": (breast_cancer, boosted(100, 5), 150, 30),
    "pima xgboost 200x5": (pima, boosted(200, 5), 100, 10),
    "digits xgboost 100x5, 10 classes": (digits, boosted(100, 5), 50, 5),
    "fashion xgboost 200x8": (sneaker_boot, boosted(200, 8), 50, 3),
    "fashion xgboost 200x8, grey levels": (grey_levels, boosted(200, 8), 100, 3),
    "breast-cancer forest 25x6": (breast_cancer, forest(25, 6), 100, 10),
    "breast-cancer forest 100x6": (breast_cancer, forest(100, 6), 100, 4),
    "breast-cancer forest 100x8": (breast_cancer, forest(100, 8), 100, 4),
    "breast-cancer forest 100 unlimited": (breast_cancer, forest(100, None), 100, 4),
    "breast-cancer extra trees 100x6": (
        breast_cancer,
        forest(100, 6, "ExtraTreesClassifier"),
        100,
        4,
    ),
}
#: Our searches that run beside the black-box peers.
MODES: dict[str, dict[str, Any]] = {
    "exact": {},
    "fast": {"exact": False},
    "drawn in": {"exact": False, "node_limit": 0},
}
#: Where the black-box peers run too.
BLACK_BOX = (
    "breast-cancer xgboost 100x5",
    "pima xgboost 200x5",
    "digits xgboost 100x5, 10 classes",
    "breast-cancer forest 100x6",
)


def peer(name: str, python: str, model: Any, x: Any, y: Any, seconds: float) -> Any:
    """The peer's rows, bounds and seconds; a sentence where it could not run."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "model.pkl").write_bytes(pickle.dumps(model))
        np.savez(f"{folder}/rows.npz", x=x, y=y)
        command = [python, str(PEERS), name, folder, str(seconds)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            return "not measured: " + (run.stderr.strip().splitlines() or ["no message"])[-1]
        return dict(np.load(f"{folder}/peer.npz"))


def ours(model: Any, x: Any, y: Any, node_limit: int) -> tuple[Any, dict[str, float]]:
    from crenel.evasion.trees import tree_distance

    begin = time.process_time()
    whole = np.ones(x.shape[1], dtype=bool) if x.max() > 1 else None  # all else is in [0, 1]
    box = None if whole is None else (0, 255)
    found = tree_distance(model, x, y, node_limit=node_limit, integer=whole, box=box)
    seconds = time.process_time() - begin
    hit = np.isfinite(found.upper)
    gap = np.where(found.exact, 0.0, 1 - found.lower / found.upper)
    return found, {
        "rows": len(x),
        "CPU ms per row": 1000 * seconds / len(x),
        "decided": float(found.exact.mean()),
        "gap at most 5 %": float((gap <= 0.05).mean()),
        "mean lower": float(found.lower[hit].mean()),
        "mean upper": float(found.upper[hit].mean()),
        "invalid witnesses": int((model.predict(found.adversarial[hit]) == y[hit]).sum()),
        "refused on the way": int(found.rejected),
    }


def against(model: Any, x: Any, y: Any, found: Any, mine: Any, answer: Any) -> Any:
    """A peer's figures beside ours."""
    if isinstance(answer, str):
        return answer
    n = len(answer["x"])
    theirs = answer["x"].astype(x.dtype)
    distance = np.abs(theirs.astype(float) - x[:n]).max(axis=1)
    valid = model.predict(theirs) != y[:n]
    lower, upper = found.lower[:n], found.upper[:n]
    milliseconds = 1000 * float(answer["seconds"]) / n
    return {
        "rows": n,
        "CPU ms per row": milliseconds,
        "ratio of CPU time": milliseconds / mine["CPU ms per row"],
        "valid rows": float(valid.mean()),
        "mean distance of valid rows": float(distance[valid].mean()) if valid.any() else None,
        "ours on these": float(upper[valid].mean()) if valid.any() else None,
        "valid rows nearer than our lower bound": int((distance < lower - 1e-6)[valid].sum()),
        "valid rows nearer than ours": int((distance < upper - 1e-6)[valid].sum()),
        "its lower bound above our witness": int((answer["lower"] > upper + 1e-3).sum()),
    }


def beside(model: Any, x: Any, y: Any, answer: Any) -> Any:
    """Each of our searches on the rows that a peer attacked, row by row."""
    from crenel.evasion.trees import tree_distance

    if isinstance(answer, str):
        return answer
    n = len(answer["x"])
    x, y, theirs = x[:n], y[:n], answer["x"].astype(x.dtype)
    valid = model.predict(theirs) != y
    milliseconds = 1000 * float(answer["seconds"]) / n
    sizes = [sizes_of(theirs, x, norm)[valid] for norm in (np.inf, 2)]
    shown: dict[str, Any] = {
        "rows": n,
        "valid rows": float(valid.mean()),
        "CPU ms per row": milliseconds,
        "mean L-inf, L2 of valid rows": [float(s.mean()) for s in sizes if len(s)],
        "ratio of CPU time to our floor": milliseconds / (2 * least(lambda: model.predict(x), n)),
    }
    for mode, arguments in MODES.items():
        found = tree_distance(model, x, y, **arguments)
        spent = least(lambda a=arguments: tree_distance(model, x, y, **a), n)
        mine = [sizes_of(found.adversarial, x, norm)[valid] for norm in (np.inf, 2)]
        shown[mode] = {
            "CPU ms per row": spent,
            "ratio of CPU time": milliseconds / spent,
            "valid": int((model.predict(found.adversarial) != y).sum()),
            "mean L-inf, L2 on its valid rows": [float(s.mean()) for s in mine if len(s)],
            "rows farther in L-inf, L2": [
                int((~(m <= s + 1e-6)).sum()) for m, s in zip(mine, sizes)
            ],
        }
    return shown


def sizes_of(changed: Any, x: Any, norm: float) -> Any:
    return np.linalg.norm(changed.astype(float) - x, ord=norm, axis=1)


def least(call: Callable[[], Any], rows: int, times: int = 3) -> float:
    """Least CPU milliseconds per row of several calls."""
    spent = []
    for _ in range(times):
        begin = time.process_time()
        call()
        spent.append(time.process_time() - begin)
    return 1000 * min(spent) / rows


def published(quick: bool) -> dict[str, Any]:
    """Figures of others, reproduced."""
    import xgboost
    from sklearn.datasets import load_svmlight_file

    from crenel.evasion.trees import tree_distance

    sys.path.insert(0, str(ROOT))
    from tests.evasion.trees import groot

    agreed = total = 0
    names = ("diabetes", "sonar") if quick else tuple({k[1] for k in groot.published()})
    for method, shown in groot.METHODS.items():
        for name in sorted(names):
            for fold in range(5):
                x, y = groot.fold(name, fold)
                trees = groot.ensemble(method, name, fold)
                found = tree_distance(trees, x, y, box=(x - 0.1, x + 0.1))
                truth = groot.published()[shown, name, fold, "adversarial accuracy"]
                agreed += abs(float(np.isinf(found.upper).mean()) - truth) < 1e-9
                total += 1
    folder = SHARED / "14_xgb_random_forests"
    booster = xgboost.Booster(model_file=str(folder / "breast_cancer_rf.ubj"))
    x, y = load_svmlight_file(
        str(folder / "breast_cancer_scale0.test"), n_features=11, zero_based=True
    )
    x, y = x.toarray()[:100], y[:100].astype(int)
    means = {
        str(norm): round(float(tree_distance(booster, x, y, norm=norm).upper.mean()), 6)
        for norm in (np.inf, 1, 2)
    }
    return {"GROOT trees that agree": f"{agreed} of {total}", "mean distances": means}


def measured(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One subject, and its peers."""
    data, make, rows, few = SUBJECTS[name]
    train, test, label, truth = data()
    model = make().fit(train, label)
    right = model.predict(test) == truth
    count = options.rows or (few if options.quick else rows)
    x, y = test[right][:count], truth[right][:count]
    ours(model, x[:2], y[:2], 100)  # compiled
    found, mine = ours(model, x, y, 20_000 if options.quick else options.node_limit)
    result: dict[str, Any] = {"crenel": mine}
    answer = peer("veritas", options.veritas_python, model, x, y, options.peer_seconds)
    result["veritas"] = against(model, x, y, found, mine, answer)
    for rival in ("hopskipjump", "zoo") if name in BLACK_BOX else ():
        answer = peer(rival, options.art_python, model, x, y, options.peer_seconds)
        result[rival] = beside(model, x, y, answer)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", nargs="*", default=["published", *SUBJECTS])
    parser.add_argument("--node-limit", type=int, default=200_000)
    parser.add_argument("--peer-seconds", type=float, default=120)
    parser.add_argument("--veritas-python", default=sys.executable)
    parser.add_argument("--art-python", default=sys.executable)
    options = parser.parse_args()
    results: dict[str, Any] = {}
    for name in options.only:
        results[name] = published(options.quick) if name == "published" else measured(name, options)
        print(json.dumps({name: results[name]}, indent=2), flush=True)
        if options.json:
            options.json.write_text(json.dumps(results, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
