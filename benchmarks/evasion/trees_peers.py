"""Peers of trees.py, each run by its own Python: ``python trees_peers.py NAME FOLDER SECONDS``.

Reads model.pkl and rows.npz (x, y) from the folder; writes peer.npz: the changed rows (the row
itself where none was found), lower bounds where there are any, and CPU seconds.
"""

from __future__ import annotations

import pickle
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np


def veritas(model: Any, x: Any, y: Any) -> Iterator[tuple[Any, float]]:
    import veritas as peer

    trees = peer.get_addtree(model, silent=True)
    classes = int(y.max()) + 1 if not hasattr(model, "classes_") else len(model.classes_)
    parts = [trees.make_singleclass(c) for c in range(classes)] if classes > 2 else []
    for row, label in zip(x, y):
        if parts:
            pairs = [(parts[label], parts[c]) for c in range(classes) if c != label]
        else:
            pairs = [(None, trees) if label == 0 else (trees, None)]
        best, lower, radius = row, np.inf, 0.5
        for pair in pairs:
            search = peer.VeritasRobustnessSearch(row, radius, *pair, silent=True)
            lower = min(lower, search.search()[1])
            for other in search.generated_examples:
                if best is row or np.abs(other - row).max() < np.abs(best - row).max():
                    best = other
            if best is not row:  # only what is nearer is of interest in other classes
                radius = min(radius, float(np.abs(best - row).max()))
        yield best, float(lower)


def art_attack(model: Any, x: Any, y: Any, name: str) -> Iterator[tuple[Any, float]]:
    from art.attacks.evasion import HopSkipJump, ZooAttack
    from art.estimators.classification import SklearnClassifier, XGBoostClassifier

    low, high = float(x.min()), float(x.max())
    if type(model).__module__.startswith("xgboost"):
        classifier = XGBoostClassifier(
            model, clip_values=(low, high), nb_features=x.shape[1], nb_classes=len(model.classes_)
        )
    else:
        classifier = SklearnClassifier(model, clip_values=(low, high))
    if name == "hopskipjump":
        attack = HopSkipJump(
            classifier,
            norm=np.inf,
            verbose=False,  # as the library comes
        )
    else:  # the parameters of the library's own examples on tables
        attack = ZooAttack(
            classifier, confidence=0.0, targeted=False, learning_rate=1e-1, max_iter=20,
            binary_search_steps=10, initial_const=1e-3, abort_early=True, use_resize=False,
            use_importance=False, nb_parallel=1, batch_size=1, variable_h=0.2, verbose=False,
        )  # fmt: skip
    yield x[0], 0.0  # the library is read and the model wrapped: not counted
    for row in x:
        found = attack.generate(row[None])[0]
        yield (found if model.predict(found[None])[0] != model.predict(row[None])[0] else row), 0.0


PEERS: dict[str, Callable[[Any, Any, Any], Iterator[tuple[Any, float]]]] = {
    "veritas": veritas,
    "hopskipjump": lambda model, x, y: art_attack(model, x, y, "hopskipjump"),
    "zoo": lambda model, x, y: art_attack(model, x, y, "zoo"),
}


def main() -> None:
    name, folder, seconds = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    model = pickle.loads((folder / "model.pkl").read_bytes())
    rows = np.load(folder / "rows.npz")
    found, lower = [], []
    answers = PEERS[name](model, rows["x"], rows["y"])
    if name != "veritas":
        next(answers)
    begin = time.process_time()
    for best, low in answers:
        found.append(best)
        lower.append(low)
        if time.process_time() - begin > seconds:
            break
    spent = time.process_time() - begin
    np.savez(folder / "peer.npz", x=np.array(found), lower=np.array(lower), seconds=spent)


if __name__ == "__main__":
    main()
