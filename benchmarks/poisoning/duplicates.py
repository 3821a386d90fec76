"""Dense clusters of poison: near-copies with another label, and collisions around a target.

Run with ``python benchmarks/poisoning/duplicates.py DATA [--seeds N] [--case NAME]``; DATA holds
the folders ``04_adult``, ``05_spambase`` and ``02_mnist``; what is missing there is skipped.
Copies: ten of each base row, with noise of 2 % of the columns' spread, under another label.
Collisions: rows of another class that keep a tenth of their way to one target, a row that its ten
nearest neighbours decide rightly and that is taken out of the data (Shafahi et al., 2018, in the
columns themselves). Precision and recall count rows. cleanlab's near_duplicate issues are beside
where cleanlab can be imported; it is given the same sketch of the rows.
"""

from __future__ import annotations

import argparse
import gzip
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from crenel.poisoning.traces.planting import collisions, noisy_copies
from crenel.poisoning.traces.search import crowding
from crenel.poisoning.traces.sketch import sketch
from crenel.subject import Data, join_rows, take_rows

SHARES = (0.0, 0.001, 0.005, 0.01)
COPIES = 10

Rows = tuple[Any, np.ndarray]


def adult(folder: Path) -> Rows:
    import pandas as pd

    frame = pd.read_csv(folder / "04_adult/adult-train.csv", header=None, skipinitialspace=True)
    x = frame.iloc[:, :-1].rename(columns=lambda i: f"c{i}")
    return x, (frame.iloc[:, -1] == ">50K").to_numpy(np.int64)


def spambase(folder: Path) -> Rows:
    import pandas as pd

    frame = pd.read_csv(folder / "05_spambase/spambase.csv")
    return frame.iloc[:, :-1], (frame.iloc[:, -1] == "spam").to_numpy(np.int64)


def mnist(folder: Path) -> Rows:
    def read(name: str, offset: int) -> np.ndarray:
        with gzip.open(folder / "02_mnist" / name) as stream:
            return np.frombuffer(stream.read(), np.uint8, offset=offset)

    x = read("train-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
    return x, read("train-labels-idx1-ubyte.gz", 8).astype(np.int64)


def digits(folder: Path) -> Rows:
    from sklearn.datasets import load_digits

    loaded = load_digits()
    return loaded.images, loaded.target.astype(np.int64)


CASES = {"adult": adult, "digits": digits, "mnist": mnist, "spambase": spambase}


def sample(rows: Rows, most: int, rng: np.random.Generator) -> Rows:
    x, y = rows
    taken = np.sort(rng.permutation(len(y))[:most])
    return take_rows(x, taken), y[taken]


def plant(
    rows: Rows, kind: str, share: float, rng: np.random.Generator
) -> tuple[Any, np.ndarray, np.ndarray]:
    """Rows, labels, and which of the rows were planted."""
    (x, y), k = rows, int(rows[1].max()) + 1
    count = round(share * len(y))
    if kind == "collisions":
        target = decided(x, y, rng)
        label = int((y[target] + rng.integers(1, k)) % k)
        kept = np.delete(np.arange(len(y)), target)
        bases = rng.choice(np.flatnonzero(y == label), count)
        more = [collisions(x, bases, take_rows(x, np.array([target])))] if count else []
        labels = np.full(count, label)
    else:
        kept = np.arange(len(y))
        bases = rng.choice(len(y), max(1, round(count / COPIES)) if count else 0, replace=False)
        sizes = [min(COPIES, count) for _ in bases]
        more = [noisy_copies(x, int(b), m, rng) for b, m in zip(bases, sizes, strict=True)]
        labels = np.repeat((y[bases] + rng.integers(1, k, len(bases))) % k, sizes).astype(np.int64)
    planted = np.arange(len(kept) + len(labels)) >= len(kept)
    return join_rows([take_rows(x, kept), *more]), np.append(y[kept], labels), planted


def decided(x: Any, y: np.ndarray, rng: np.random.Generator) -> int:
    z = sketch(x)
    for row in rng.permutation(len(y)):
        near = np.argsort(((z - z[row]) ** 2).sum(axis=1))[1:11]
        if (y[near] == y[row]).mean() > 0.5:
            return int(row)
    raise SystemExit("no row is decided rightly by its neighbours")


def ours(x: Any, y: np.ndarray, seed: int) -> np.ndarray:
    blamed = np.zeros(len(y), dtype=bool)
    blamed[crowding(Data(x, y, np.arange(len(y))), y, seed).blamed] = True
    return blamed


def cleanlab_near_duplicates(x: Any, y: np.ndarray, seed: int) -> np.ndarray:
    from cleanlab.datalab.internal.issue_manager.duplicate import NearDuplicateIssueManager

    class Lab:
        def get_info(self, name: str) -> dict:
            return {}

    manager = NearDuplicateIssueManager(datalab=Lab())
    manager.find_issues(features=sketch(x, seed))
    return manager.issues["is_near_duplicate_issue"].to_numpy()


def tools() -> dict[str, Any]:
    try:
        import cleanlab.datalab.internal.issue_manager.duplicate  # noqa: F401
    except ImportError as error:
        print(f"cleanlab is left out: {error}")
        return {"crenel": ours}
    return {"crenel": ours, "cleanlab": cleanlab_near_duplicates}


def cells(names: list[str], folder: Path) -> Iterator[tuple[str, Rows]]:
    for name in names:
        try:
            yield name, CASES[name](folder)
        except OSError as error:
            print(f"{name} is skipped: {error}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--case", choices=list(CASES), action="append")
    options = parser.parse_args()
    found = tools()
    heads = ("planted", "precision", "recall", "runs found", "blamed else", "CPU s")
    print(f"{'':36}" + "".join(f"{h:>13}" for h in heads))
    for name, rows in cells(options.case or list(CASES), options.data):
        for kind in ("copies", "collisions"):
            for share in SHARES:
                _cell(name, rows, kind, share, found, options)


def _cell(name: str, rows: Rows, kind: str, share: float, found: dict, options: Any) -> None:
    lines: dict[str, list[tuple[float, ...]]] = {tool: [] for tool in found}
    for seed in range(options.seeds):
        rng = np.random.default_rng(seed)
        x, y, planted = plant(sample(rows, options.rows, rng), kind, share, rng)
        for tool, search in found.items():
            begun = time.process_time()
            flagged = search(x, y, seed)
            hit, spent = int((flagged & planted).sum()), time.process_time() - begun
            else_, of = int(flagged.sum()) - hit, max(1, int(planted.sum()))
            lines[tool].append((planted.sum(), hit, else_, hit / of, hit / of >= 0.5, spent))
    for tool, runs in lines.items():
        n, hit, else_, recall, good, spent = np.mean(np.array(runs, dtype=float), axis=0)
        precision = hit / (hit + else_) if hit + else_ else float("nan")
        figures = (f"{n:.0f}", f"{precision:.3f}", f"{recall:.3f}", f"{good:.2f}", f"{else_:.1f}")
        shown = "".join(f"{f:>13}" for f in (*figures, f"{spent:.2f}"))
        print(f"{f'{name} {kind} {share:.1%} {tool}':36}" + shown, flush=True)


if __name__ == "__main__":
    main()
