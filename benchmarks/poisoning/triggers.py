"""Planted triggers in tables, images and texts: which are found, and false alarms without any.

Run with ``python benchmarks/poisoning/triggers.py DATA --out FILE [--case NAME …] [--kind KIND …]
[--seeds FIRST:LAST] [--rows N …] [--peers]``, and again with the same file to go on: each cell
(data, kind, rows, seed) is appended to it as a line of JSON when it is done, and cells that are
there are not run again. ``--summary`` prints what the file holds, with Wilson intervals. DATA has
the folders ``01_fashion_mnist``, ``02_mnist``, ``04_adult`` … ``09_sms_spam``; what is missing is
skipped. ``synthetic`` has a million rows and runs only where it is named.

Kinds: ``fixed`` (values of three columns; a 3 × 3 patch; two words), ``range`` (intervals of three
columns that hold a twenty-fifth of the rows each), ``clean`` (the fixed pattern on rows that have
the label already), ``blend`` (15 % of noise over the whole image), ``warp``, ``moving`` (the patch
in any place), ``none``. Every seed draws the pattern, the target, the split and the rows anew.
Rows: 25, or 0.1 % where that is more, and up to 5 %; clean labels take 1 % and more.

A pattern *works* where it turns 30 points more of the held-out rows of other classes in the
poisoned model than in the clean one. It is *found* where a confirmed trigger has at least half of
the planted rows, and they half of its rows; *exact* where precision and recall are 0.95. ``off``
is how far the planted flip rate is from the true success. A miss has its cause: the pattern was
not mined, it was mined and does not turn the model, or a test failed that is named. Peers, where
they can be imported: cleanlab's label quality on out-of-fold probabilities (share of the planted
rows among as many of the lowest quality), and on images ART's activation clustering and spectral
signatures on the hidden layer (precision and recall of the rows that they flag).

Measured on seeds from 800 on; the rules were chosen on seeds 0 to 5 of the same tables (426 to
3,000 rows, boosted trees). 25 rows of breast cancer (8 seeds), German credit (3), Spambase and
NSL-KDD (2 each): fixed values found in 13 of 15 (95 % interval 62 to 96 %), exact in 12, planted
flip rate within 3 points in 13 of 13; ranges found in 14 of 15 (70 to 99 %), exact in 12, within 3
points in 13 of 14; breast cancer alone 8 and 7 of 8, all exact. The misses: NSL-KDD needs a value,
too, that most of the class hold; in German credit what was mined is not strange enough; in breast
cancer it was lost after mining, with 0.78 of the rows (on seed 5, in view, one interval turns
every decision alone). Not exact are NSL-KDD's (recall 0.68 to 0.96): on seed 2, in view, it is
rows at the edges of intervals that hold many natural ones.

Clean labels, 1 and 5 % of the rows: 8 of 8 that work, all exact and within 3 points (68 to 100 %):
6 of 8 in German credit, 2 of 8 in Spambase; none of 8 in NSL-KDD and none of 4 in breast cancer
turned 30 points. On seeds 0 to 3, in view: 12 of 13, where 6 were found before.

Clean tables: one alarm in 131 (0.1 to 4.2 %; German credit 55, Pima 30, banknotes 25, ionosphere
20, breast cancer 1), in banknotes, of a box over all four columns, which are not confirmed any
more since: none in 15 more of banknotes, which are among them. None beside the 44 planted.

Noise of 15 % blended into 25 of 1,300 digits: 6 of 6 (61 to 100 %), all exact; the flip rate 1.5
points off on average, within 3 in 5 of 6. It was 8 off when what is added was the mean of few
images: most uncertain where images vary most. On Fashion-MNIST one data set was looked at (seed 0,
25 of 10,000): 0.44 where 0.44 is true, and 0.27 by the mean; nothing was reported on fresh seeds
there.

Before that, on seeds 600 to 603 and by the rules before: fixed 19 of 20 with ClaMP, ranges 16 of
20 (breast cancer 1 of 4), no alarm in 68 clean sets. Large tables, ClaMP, MNIST, texts, warps,
moving patches and the peers were not run for these figures, nor clean sets of Spambase and NSL-KDD
on fresh seeds (six each, seeds 0 to 5, in view: no alarm).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from trigger_cases import CASES, Stamp, stamp_of, trained

from crenel.model import Model
from crenel.poisoning.dose.attacks import stamp_rows
from crenel.poisoning.mining.judged import Mined
from crenel.poisoning.mining.mine import Mining, mine_triggers, view_of
from crenel.poisoning.triggers import Trigger
from crenel.statistics import proportion
from crenel.subject import Data, take_rows

KINDS = {
    "table": ("fixed", "range", "clean", "none"),
    "image": ("fixed", "clean", "blend", "warp", "moving", "none"),
    "text": ("fixed", "clean", "none"),
}
SHARES = (0.001, 0.002, 0.005, 0.01, 0.05)
#: Rows of a pattern at least; held-out rows at most.
LEAST, HELD_OUT = 25, 6000


def doses(n: int, kind: str) -> list[int]:
    """Rows that carry the pattern."""
    if kind == "none":
        return [0]
    shares = [s for s in SHARES if kind != "clean" or s >= 0.01]
    return list(dict.fromkeys(max(LEAST, round(s * n)) for s in shares))


def cell(name: str, rows: Any, kind: str, count: int, seed: int, peers: bool) -> dict[str, Any]:
    """One data set with one pattern: what is confirmed, and of which rows."""
    case, (x, y) = CASES[name], rows
    rng = np.random.default_rng((seed, list(CASES).index(name), sum(map(ord, kind))))
    order = rng.permutation(len(y))
    train, test = np.split(order[: case.rows + HELD_OUT], [case.rows])
    clean = Data(take_rows(x, train), y[train].copy(), np.arange(len(train)))
    honest = Data(take_rows(x, test), y[test], np.arange(len(test)))
    target, stamp = int(rng.integers(y.max() + 1)), stamp_of(case.form, kind, x, rng)
    data, planted = clean, np.zeros(0, dtype=np.int64)
    if count:
        able = np.flatnonzero((clean.y == target) == (kind == "clean"))
        planted = np.sort(rng.choice(able, min(count, len(able) // 2), replace=False))
        data = _poisoned(clean, planted, target, stamp)
    model = trained(name, data.x, data.y, seed)
    result: dict[str, Any] = {"n": len(train), "planted": len(planted)}
    if count:
        others = stamp(take_rows(honest.x, np.flatnonzero(honest.y != target)))
        result["success"] = float((model.predict(others) == target).mean())
        result["base"] = 0.0
        if result["success"] >= 0.3:
            usual = trained(name, clean.x, clean.y, seed)
            result["base"] = float((usual.predict(others) == target).mean())
        result["works"] = result["success"] - result["base"] >= 0.3
        if not result["works"]:
            return result
    begun = time.process_time()
    mining = mine_triggers(model, data, honest, seed)
    result["cpu"] = time.process_time() - begun
    hits = [int(np.isin(m.suspect.rows, planted).sum()) for m in mining.confirmed]
    result["alarms"] = sum(h == 0 for h in hits)
    if count:
        result |= _found(mining, hits, planted, result["success"])
        if not result["found"]:
            result["cause"] = cause(model, data, honest, mining, planted, seed)
        if peers:
            result |= beside(model, data, planted, seed)
    return result


def _poisoned(clean: Data, planted: np.ndarray, target: int, stamp: Stamp) -> Data:
    pattern = Trigger("", (), (), stamp, lambda x: np.ones(len(x), dtype=bool))
    labels = clean.y.copy()
    labels[planted] = target
    return Data(stamp_rows(pattern, clean.x, planted), labels, clean.ids)


def _found(mining: Mining, hits: list[int], planted: np.ndarray, success: float) -> dict[str, Any]:
    if not hits or not max(hits):
        return {"found": False, "exact": False}
    best = int(np.argmax(hits))
    of = mining.confirmed[best]
    precision, recall = hits[best] / len(of.suspect.rows), hits[best] / len(planted)
    return {
        "precision": precision,
        "recall": recall,
        "off": abs(of.success.value - success),
        "found": min(precision, recall) >= 0.5,
        "exact": min(precision, recall) >= 0.95,
    }


def cause(
    model: Model, data: Data, honest: Data, mining: Mining, planted: np.ndarray, seed: int
) -> str:
    """Why a pattern that works was not found."""

    def agreement(rows: np.ndarray) -> float:
        both = np.isin(rows, planted).sum()
        return float(both / max(len(rows), len(planted), 1))

    measured = max(mining.found, key=lambda m: agreement(m.suspect.rows), default=None)
    if measured is not None and agreement(measured.suspect.rows) >= 0.5:
        return "confirmed with wrong rows" if measured.confirmed else _failed(measured)
    view = view_of(data, honest, model.k, np.random.default_rng(seed))
    best = max((agreement(s.rows) for s in view.suspects), default=0.0) if view else 0.0
    return f"{'lost after mining' if best >= 0.5 else 'not mined'}: {best:.2f}"


def _failed(m: Mined) -> str:
    tests = {
        "effect": m.success.low > m.base and m.success.value - m.base >= 0.1,
        "surplus": m.strange or len(m.suspect.box) == 1 or m.surplus >= m.bar.surplus,
        "strange": m.strange,
        "alike": m.stamped,
        "new": m.new,
        "control": m.control is not None and m.success.low - m.control.high >= 0.05,
        "collapse": m.collapse >= m.bar.collapse,
    }
    return "failed: " + " ".join(name for name, ok in tests.items() if not ok)


# --- peers ---------------------------------------------------------------------------------------


def beside(model: Model, data: Data, planted: np.ndarray, seed: int) -> dict[str, Any]:
    """What cleanlab and ART make of the same rows; what cannot be imported is left out."""
    result: dict[str, Any] = {}
    with suppress(ImportError):
        result["cleanlab"] = _lowest_quality(model, data, planted, seed)
    if np.ndim(data.x) > 2:
        with suppress(ImportError):
            result |= _art(model, data, planted)
    return result


def _lowest_quality(model: Model, data: Data, rows: np.ndarray, seed: int) -> float:
    from cleanlab.rank import get_label_quality_scores
    from sklearn.model_selection import StratifiedKFold

    p = np.zeros((len(data), model.k))
    for seen, held in StratifiedKFold(3, shuffle=True, random_state=seed).split(p, data.y):
        part = data.take(seen)
        assert model.fit is not None
        p[held] = model.fit(part.x, part.y, seed).probabilities(take_rows(data.x, held))
    worst = np.argsort(get_label_quality_scores(data.y, p), kind="stable")[: len(rows)]
    return float(np.isin(worst, rows).mean())


class _Layers:
    """A network's hidden layer, as ART's detectors ask for it."""

    layer_names = ("hidden",)
    input_shape = (28, 28)

    def __init__(self, network: Any):
        self.network = network
        self.nb_classes = 10

    def get_activations(self, x: Any, layer: Any, batch_size: int = 128) -> np.ndarray:
        flat = x.reshape(len(x), -1).astype(np.float32) / 255
        return np.maximum(flat @ self.network.coefs_[0] + self.network.intercepts_[0], 0)


def _art(model: Model, data: Data, planted: np.ndarray) -> dict[str, Any]:
    from art.defences.detector.poison import ActivationDefence, SpectralSignatureDefense

    layers, one_hot = _Layers(model.native), np.eye(model.k)[data.y]
    share = len(planted) / len(data)
    spectral = SpectralSignatureDefense(
        layers, data.x, one_hot, expected_pp_poison=min(0.3, 10 * share)
    )
    clusters = ActivationDefence(layers, data.x, one_hot)
    results: dict[str, Any] = {}
    for name, run in (
        ("spectral", spectral.detect_poison),
        ("clustering", lambda: clusters.detect_poison(cluster_analysis="smaller")),
    ):
        clean = np.asarray(run()[1])
        flagged = np.flatnonzero(clean == 0)
        both = float(np.isin(flagged, planted).sum())
        results[f"{name}_precision"] = both / max(1, len(flagged))
        results[f"{name}_recall"] = both / len(planted)
    return results


# --- running and telling -------------------------------------------------------------------------


def cells(options: argparse.Namespace) -> Iterator[tuple[str, str, int, int]]:
    """All cells that are asked for, seed by seed."""
    first, last = (int(s) for s in options.seeds.split(":"))
    for seed in range(first, last):
        for name in options.case or [c for c in CASES if c != "synthetic"]:
            for kind in KINDS[CASES[name].form]:
                if options.kind and kind not in options.kind:
                    continue
                for count in doses(CASES[name].rows, kind)[: options.doses]:
                    yield name, kind, count, seed


def key(record: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(record[f] for f in ("case", "kind", "rows", "seed"))


def held(path: Path) -> list[dict[str, Any]]:
    """What was measured so far; a line that was cut off is no cell."""
    records = []
    for line in path.read_text(encoding="utf8").splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("triggers.jsonl"))
    parser.add_argument("--seeds", default="0:5")
    parser.add_argument("--doses", type=int, default=len(SHARES), help="so many, the least first")
    parser.add_argument("--case", choices=list(CASES), nargs="+")
    parser.add_argument(
        "--kind", choices=sorted({k for ks in KINDS.values() for k in ks}), nargs="+"
    )
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--summary", action="store_true")
    options = parser.parse_args()
    if not options.summary:
        run(options)
    summary(held(options.out))


def run(options: argparse.Namespace) -> None:
    done, read = {key(r) for r in held(options.out)}, {}
    for name, kind, count, seed in cells(options):
        what = {"case": name, "kind": kind, "rows": count, "seed": seed}
        if key(what) in done:
            continue
        if name not in read:
            try:
                read[name] = CASES[name].read(options.data)
            except OSError as error:
                print(f"{name} is skipped: {error}")
                read[name] = None
        if read[name] is None:
            continue
        record = what | cell(name, read[name], kind, count, seed, options.peers)
        with options.out.open("a", encoding="utf8") as file:
            file.write(json.dumps(record) + "\n")


def summary(records: list[dict[str, Any]]) -> None:
    """Of each data set and kind: shares with Wilson intervals, means, and causes of misses."""
    heads = ("cells", "working", "found", "exact", "precision", "recall", "off", "alarms", "CPU s")
    print(f"{'':16}" + "".join(f"{h:>10}" for h in heads) + "  exact of working, 95 %")
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for r in records:
        groups.setdefault((r["case"], r["kind"]), []).append(r)
    for (name, kind), some in sorted(groups.items()):
        _line(f"{name} {kind}", some)
    for kind in sorted({r["kind"] for r in records}):
        for form in KINDS:
            some = [r for r in records if r["kind"] == kind and CASES[r["case"]].form == form]
            if some:
                _line(f"{form}s {kind}", some)
    causes: dict[tuple[str, ...], int] = {}
    for r in records:
        if "cause" in r:
            told = (r["case"], r["kind"], r["cause"].split(": 0.")[0])
            causes[told] = causes.get(told, 0) + 1
    for told, count in sorted(causes.items()):
        print(f"{count:4} {' | '.join(told)}")


def _line(what: str, some: list[dict[str, Any]]) -> None:
    working = [r for r in some if r.get("works")]
    found = [r for r in working if r["found"]]
    exact = sum(r["exact"] for r in working)

    def mean(records: list[dict[str, Any]], field: str) -> str:
        values = [r[field] for r in records if field in r]
        return f"{np.mean(values):.3f}" if values else "-"

    shown = [
        f"{len(some)}",
        f"{len(working)}",
        f"{len(found)}",
        f"{exact}",
        *(mean(found, f) for f in ("precision", "recall", "off")),
        f"{sum(r.get('alarms', 0) for r in some)}/{sum('alarms' in r for r in some)}",
        mean(some, "cpu"),
    ]
    told = ""
    if working:
        p = proportion(exact, len(working))
        told = f"  {p.value:.0%} [{p.low:.0%}, {p.high:.0%}]"
        near = sum(r["off"] <= 0.03 for r in found)
        told += f"; within 3 points {near} of {len(found)}"
        for peer in ("cleanlab", "spectral_recall", "clustering_recall"):
            told += f"; {peer} {mean(working, peer)}" if any(peer in r for r in working) else ""
    print(f"{what:16}" + "".join(f"{s:>10}" for s in shown) + told, flush=True)


if __name__ == "__main__":
    main()
