"""Attacks by queries alone against ART's HopSkipJump, Square and ZOO and AutoAttack's Square.

Measures, at equal queries for each row, the share of rows flipped within epsilon and the median
distance, on networks and on a scikit-learn model. Claim: no larger median distance than any of
them from 300 queries on; and over a network that fails and limits, the attack comes to its end,
loses no answer and counts what the server counts.

Every attack asks the same counted model; what a peer had found when a row's queries were spent is
what counts, whatever it asked later. Peers that are not installed are left out and named.

    python benchmarks/evasion/queries.py [--rows 30] [--queries 100 300 1000] [--quick]
        [--models digits fashion table] [--json FILE]
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import threading
import time
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

FASHION = Path(__file__).resolve().parents[3] / "shared" / "data" / "01_fashion_mnist"
#: L-inf and L2 radii at which rows are counted as flipped.
RADII = {"digits": (0.1, 0.8), "fashion": (0.05, 1.0), "table": (0.08, 0.3)}


class Counted:
    """A model that notes, for each row under attack, the nearest turned point by its queries.

    Peers attack one row at a time; ``begin`` names it. Our attacks ask for many rows at once and
    keep the same account themselves.
    """

    def __init__(self, scores) -> None:
        self.scores, self.row, self.asked, self.events = scores, None, 0, []

    def begin(self, row: int, x, y, norm: float) -> None:
        """The row that the next questions are about."""
        self.row, self.asked, self.x, self.y, self.norm = row, 0, x, y, norm

    def __call__(self, z):
        """Scores of rows (m, …), shape (m, k)."""
        p = self.scores(np.asarray(z))
        if self.row is not None:
            wrong = np.flatnonzero(p.argmax(axis=1) != self.y)
            flat = (np.asarray(z, dtype=np.float64) - self.x).reshape(len(z), -1)
            inside = (np.asarray(z).min(axis=tuple(range(1, np.ndim(z)))) >= -1e-6) & (
                np.asarray(z).max(axis=tuple(range(1, np.ndim(z)))) <= 1 + 1e-6
            )
            for i in wrong[inside[wrong]]:
                size = float(np.linalg.norm(flat[i], ord=self.norm))
                self.events.append((self.row, self.asked + i + 1, size))
            self.asked += len(z)
        return p

    def distances(self, n: int, queries: int):
        """Nearest turned point of each row within so many of its queries."""
        found = np.full(n, math.inf)
        for row, order, size in self.events:
            if order <= queries:
                found[row] = min(found[row], size)
        return found


def network(name: str):
    """A small CNN, its scores, and test rows."""
    import torch

    from crenel.demo import digits

    torch.manual_seed(0)
    torch.set_num_threads(1)
    if name == "digits":
        x, y = digits.images()
        model, cut, epochs = digits.network(), 1200, 20
    else:

        def read(file: str, skip: int):
            return np.frombuffer(gzip.open(FASHION / file).read(), np.uint8)[skip:]

        x = read("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28).astype(np.float32) / 255
        y = read("t10k-labels-idx1-ubyte.gz", 8).astype(np.int64)
        nn = torch.nn
        model, cut, epochs = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(),
            nn.Flatten(), nn.Linear(32 * 49, 64), nn.ReLU(), nn.Linear(64, 10),
        ), 7000, 6  # fmt: skip
    digits.train(model, x[:cut], y[:cut], 0, epochs)

    def scores(z):
        with torch.no_grad():
            rows = torch.from_numpy(np.ascontiguousarray(z, dtype=np.float32))
            return torch.softmax(model(rows).double(), 1).numpy()

    return scores, x[cut:], y[cut:]


def table():
    """Gradient boosting on breast cancer, columns scaled to [0, 1]."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import GradientBoostingClassifier

    x, y = load_breast_cancer(return_X_y=True)
    x = ((x - x.min(axis=0)) / (x.max(axis=0) - x.min(axis=0))).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(y))
    x, y = x[order], y[order]
    model = GradientBoostingClassifier(random_state=0).fit(x[:300], y[:300])
    return model.predict_proba, x[300:], y[300:]


def ours(
    scores, x, y, pool, norm: float, labels: bool, queries: int, epsilon: float | None, taught: bool
):
    """Our attack, for the smallest change or aimed at epsilon, with surrogates or without."""
    from crenel.evasion.blackbox import query_attack

    begun = time.process_time()
    got = query_attack(
        lambda z: scores(z).argmax(axis=1), x, y, scores=None if labels else scores, norm=norm,
        pool=pool, queries=queries, epsilons=None if epsilon is None else [epsilon],
        transfer=0 if taught else None,
    )  # fmt: skip
    return got.distance_at, time.process_time() - begun


def peer_attacks(norm: float, queries: int, epsilon: float, image: bool):
    """Peers that can run: name to a function from (counted, one row, its class, k) to nothing."""
    found = {}
    try:
        from art.attacks.evasion import HopSkipJump, SquareAttack, ZooAttack
        from art.estimators.classification import BlackBoxClassifier

        def wrapped(counted, x, k):
            return BlackBoxClassifier(
                counted, input_shape=x.shape[1:], nb_classes=k, clip_values=(0.0, 1.0)
            )

        def hop(counted, x, y, k):
            # as many rounds as fill the budget; the account cuts at the budget itself
            attack = HopSkipJump(
                wrapped(counted, x, k), norm="inf" if norm == math.inf else 2, targeted=False,
                max_iter=max(3, round(queries / 130)), max_eval=400, init_eval=50, init_size=50,
                verbose=False,
            )  # fmt: skip
            attack.generate(x)

        def square(counted, x, y, k):
            attack = SquareAttack(
                wrapped(counted, x, k), norm="inf" if norm == math.inf else 2, eps=epsilon,
                max_iter=queries, nb_restarts=1, verbose=False,
            )  # fmt: skip
            attack.generate(x, np.eye(k)[[y]])

        def zoo(counted, x, y, k):
            attack = ZooAttack(
                wrapped(counted, x, k), max_iter=max(2, queries // 256), nb_parallel=64,
                binary_search_steps=1, use_resize=False, use_importance=False, verbose=False,
                variable_h=0.05, learning_rate=0.05, initial_const=1.0,
            )  # fmt: skip
            attack.generate(x, np.eye(k)[[y]])

        found["ART HopSkipJump"] = hop
        if image:
            found["ART Square"] = square
        if norm == 2:
            found["ART ZOO"] = zoo
    except ImportError as error:
        print(f"ART is left out ({error})")
    if image:
        found.update(autoattack(norm, queries, epsilon))
    return found


def autoattack(norm: float, queries: int, epsilon: float):
    """AutoAttack's Square, where it is installed."""
    try:
        import torch
        from pyautoattack.square import SquareAttack
    except ImportError:
        try:
            from autoattack.square import SquareAttack
        except ImportError as error:
            print(f"AutoAttack is left out ({error})")
            return {}

    def square(counted, x, y, k):
        def logits(z):
            return torch.from_numpy(np.log(np.maximum(counted(z.numpy()), 1e-38))).float()

        name = "Linf" if norm == math.inf else "L2"
        attack = SquareAttack(
            logits, norm=name, eps=epsilon, n_queries=queries, n_restarts=1, seed=0, device="cpu"
        )
        attack.perturb(torch.from_numpy(x), torch.tensor([y]))

    return {"AutoAttack Square": square}


def run_peer(attack, scores, x, y, norm: float, budget: float = math.inf):
    """One row at a time, as peers count queries for each row only so."""
    counted, begun, k = Counted(scores), time.process_time(), int(scores(x[:1]).shape[1])
    np.random.seed(0)  # noqa: NPY002 - peers draw from the global state
    for i in range(len(x)):
        counted.begin(i, x[i], y[i], norm)
        attack(counted, x[i : i + 1], int(y[i]), k)
        if time.process_time() - begun > budget:
            return None, time.process_time() - begun
    return lambda q: counted.distances(len(x), q), time.process_time() - begun


def compare(name: str, rows: int, grid: list[int], budget: float):
    """All attacks on one model, in both norms."""
    scores, x, y = table() if name == "table" else network(name)
    right = np.flatnonzero(scores(x).argmax(axis=1) == y)
    pool = (x[right[rows:]], y[right[rows:]])
    x, y = x[right[:rows]], y[right[:rows]]
    lines = []
    for norm, epsilon in zip((math.inf, 2.0), RADII[name]):
        done = {
            f"ours, {'labels' if labels else 'scores'}{', aimed' if aim else ''}"
            f"{', surrogates' if taught else ''}": ours(
                scores, x, y, pool, norm, labels, max(grid), aim, taught
            )
            for labels, aim in ((False, None), (False, epsilon), (True, None))
            for taught in (False, True)
        }
        for peer, attack in peer_attacks(norm, max(grid), epsilon, name != "table").items():
            try:
                done[peer] = run_peer(attack, scores, x, y, norm, budget)
            except Exception as error:  # noqa: BLE001 - a peer's crash is a result
                lines.append({"model": name, "norm": norm, "attack": peer, "crash": repr(error)})
                print(lines[-1], flush=True)
        for attack, (distances, seconds) in done.items():
            line = {"model": name, "norm": str(norm), "attack": attack, "cpu_s": round(seconds, 2)}
            for q in grid if distances is not None else ():
                d = distances(q)
                within = d <= epsilon * (1 + 1e-5)  # peers may leave the ball by a rounding
                line[f"flipped@{q}"] = round(float(within.mean()), 3)
                line[f"median@{q}"] = round(float(np.median(d)), 4)
            lines.append(line if distances is not None else {**line, "cut": "out of time"})
        for line in lines[-len(done) :]:
            print(line, flush=True)
    return lines


def over_http(rows: int, queries: int):
    """A server that fails 5 % of requests and takes 200 a second; both sides count."""
    from crenel.adapters import load_model
    from crenel.evasion.blackbox import query_attack

    scores, x, y = table()
    served = {"rows": 0, "requests": 0, "errors": 0}
    draw = np.random.default_rng(0)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fails = draw.random() < 0.05
            served["errors" if fails else "requests"] += 1
            served["rows"] += 0 if fails else len(body["instances"])
            p = (
                b"busy"
                if fails
                else json.dumps(
                    {"predictions": scores(np.array(body["instances"], np.float32)).tolist()}
                ).encode()
            )
            self.send_response(503 if fails else 200)
            self.send_header("Content-Length", str(len(p)))
            self.end_headers()
            self.wfile.write(p)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings = {"backoff": 0.01, "rate": 200.0, "batch": 64}
    model = load_model(
        f"http://127.0.0.1:{server.server_port}/v1/models/m:predict", endpoint=settings,
        sample=x[:4], classes=[0, 1],
    )  # fmt: skip
    right = np.flatnonzero(scores(x).argmax(axis=1) == y)[:rows]
    before, meter = served["rows"], model.native.meter
    got = query_attack(model.predict, x[right], y[right], scores=model.score, queries=queries)
    direct = query_attack(
        lambda z: scores(z).argmax(axis=1), x[right], y[right], scores=scores, queries=queries
    )
    server.shutdown()
    line = {
        "attack": "over HTTP", "asked": got.asked, "served rows": served["rows"] - before,
        "failed requests": served["errors"], "tries": meter.tries, "requests": meter.requests,
        "stopped": got.stopped, "counts exact": got.asked == served["rows"] - before,
        "same answer as without the network": bool(np.array_equal(got.distance, direct.distance)),
        "s": round(meter.seconds + meter.waited, 2),
    }  # fmt: skip
    print(line, flush=True)
    return [line]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=30)
    parser.add_argument("--queries", type=int, nargs="+", default=[100, 300, 1000])
    parser.add_argument("--models", nargs="+", default=["digits", "fashion", "table"])
    parser.add_argument("--quick", action="store_true", help="8 rows, 300 queries")
    parser.add_argument("--budget", type=float, default=600, help="CPU seconds for one peer")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    rows, grid = (8, [100, 300]) if args.quick else (args.rows, sorted(args.queries))
    lines = [line for m in args.models for line in compare(m, rows, grid, args.budget)]
    lines += over_http(min(rows, 20), 200)
    if args.json:
        args.json.write_text(json.dumps(lines, indent=1))


if __name__ == "__main__":
    main()
