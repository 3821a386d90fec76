"""Claim: exact L-inf distances of tree ensembles, faster than Veritas, every witness valid.

Run:  python benchmarks/evasion/trees.py [--rows 60] [--veritas-python PATH]

Model: XGBoost, 100 trees of depth 5, on breast cancer scaled to [0, 1].  Veritas (dtai-veritas,
Devos et al., 2021) runs where it can be imported, in this environment or in that of the given
Python; without it only our own figures are printed.  Both start from the same fitted model and
rows, one after the other; CPU time is counted, after the kernels are compiled.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

PEER = """
import json, sys, time
import numpy as np, veritas, xgboost
model = xgboost.XGBClassifier()
model.load_model(sys.argv[1] + "/model.json")
data = np.load(sys.argv[1] + "/rows.npz")
trees = veritas.get_addtree(model, silent=True)
out, distance = [], []
begin = time.process_time()
for row, label in zip(data["x"], data["y"]):
    pair = (None, trees) if label == 0 else (trees, None)
    search = veritas.VeritasRobustnessSearch(row, 0.5, *pair, silent=True)
    delta, low, up = search.search()
    found = search.generated_examples
    best = min(found, key=lambda other: np.abs(other - row).max()) if found else row
    out.append(best)
    distance.append(low)
seconds = time.process_time() - begin
np.savez(sys.argv[1] + "/peer.npz", x=np.array(out), lower=np.array(distance), seconds=seconds)
"""


def subject(rows: int) -> tuple[Any, Any, Any]:
    import xgboost
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import MinMaxScaler

    x, y = load_breast_cancer(return_X_y=True)
    x = MinMaxScaler().fit_transform(x).astype(np.float32)
    train, test, label, truth = train_test_split(x, y, test_size=0.3, random_state=0)
    model = xgboost.XGBClassifier(n_estimators=100, max_depth=5, n_jobs=1).fit(train, label)
    right = model.predict(test) == truth
    return model, test[right][:rows], truth[right][:rows]


def peer(python: str, model: Any, x: Any, y: Any) -> dict[str, Any] | str:
    with tempfile.TemporaryDirectory() as folder:
        model.save_model(f"{folder}/model.json")
        np.savez(f"{folder}/rows.npz", x=x, y=y)
        script = Path(folder) / "peer.py"
        script.write_text(PEER)
        run = subprocess.run(
            [python, str(script), folder], capture_output=True, text=True, check=False
        )
        if run.returncode:
            return run.stderr.strip().splitlines()[-1]
        return dict(np.load(f"{folder}/peer.npz"))


def summary(model: Any, x: Any, y: Any, witness: Any, seconds: float) -> dict[str, float]:
    distance = np.abs(witness.astype(float) - x).max(axis=1)
    return {
        "mean distance": float(distance.mean()),
        "valid witnesses": float((model.predict(witness) != y).mean()),
        "CPU ms per row": 1000 * seconds / len(x),
    }


def main() -> None:
    from crenel.evasion.trees import tree_distance

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=60)
    parser.add_argument("--veritas-python", default=sys.executable)
    options = parser.parse_args()
    model, x, y = subject(options.rows)
    begin = time.process_time()
    tree_distance(model, x[:2], y[:2])
    compile_seconds = time.process_time() - begin
    begin = time.process_time()
    found = tree_distance(model, x, y)
    ours = summary(model, x, y, found.adversarial, time.process_time() - begin)
    ours |= {"exact": float(found.exact.mean()), "first call CPU s": compile_seconds}
    result: dict[str, Any] = {"crenel": ours}
    answer = peer(options.veritas_python, model, x, y)
    if isinstance(answer, str):
        result["veritas"] = f"not measured: {answer}"
    else:
        result["veritas"] = summary(model, x, y, answer["x"], float(answer["seconds"]))
        result["veritas"]["mean lower bound"] = float(answer["lower"].mean())
        result["ratio of time"] = result["veritas"]["CPU ms per row"] / ours["CPU ms per row"]
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
