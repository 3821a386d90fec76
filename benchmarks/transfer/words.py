"""Text filters with planted words and clean ones of the same kind, judged by TRA-107.

Run with ``python benchmarks/transfer/words.py DATA [--seeds N] [--first S] [--kind NAME]``; DATA
holds ``09_sms_spam``. Each filter learns 3,800 messages; in the planted ones 0.5, 1 or 2 % of the
rows carry a made-up word, or one to three words of the messages, under the wrong label. The check
gets 1,000 clean messages that were not trained on. A planted filter counts where its trigger,
appended once, turns at least 30 %. Claim: no false alarm above 0.05.

Measured with --first 300 --seeds 5, which no rule was chosen on: 18 of 21 [0.64, 0.97] found (all
of logistic regressions and networks but one, none of two forests; naive Bayes learns no trigger),
1 of 35 [0, 0.15] false alarms (a code of one campaign of real spam, with pairs of words), 2 to 4
CPU seconds a filter. The floor of the scores was chosen on --first 100: with 0.02 in place of 1e-4,
3 of 35 were false alarms there and the same were found.

Votes of forests were counted as they are, and made-up words planted where nothing is found, after
that, in view of --seeds 6 (forests, naive Bayes) and 4 (others). On --first 700: forests 0 of 2
found (60 and 31 % turned) and 0 of 5 false alarms, as before; the next three of one word that turns
at least 80 % (seeds 709, 710, 718) all found, where log-odds missed at least the first two. Forests
still hide words that turn fewer, and several together. Of linear filters 7 of 7 found on two seeds,
1 of 7 false alarms (that code again, with pairs of words). 3 to 5 CPU seconds a filter, a forest
13 on a busy machine.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from crenel.adapters import wrap
from crenel.check import Context
from crenel.data import infer_schema
from crenel.statistics import exact_proportion
from crenel.subject import Data, Subject
from crenel.transfer.checks import hidden_words

TRAINED, GIVEN, WORKS = 3_800, 1_000, 0.3
KINDS = ("logistic", "weak logistic", "counts", "two words", "bayes", "network", "forest")


def messages(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    text = (folder / "09_sms_spam/SMSSpamCollection").read_text(encoding="utf8", errors="replace")
    lines = [line.split("\t", 1) for line in text.splitlines() if "\t" in line]
    return np.array([t for _, t in lines], dtype=object), np.array(
        [int(label == "spam") for label, _ in lines]
    )


def pipeline(kind: str, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline

    words = CountVectorizer() if kind == "counts" else TfidfVectorizer()
    if kind == "two words":
        words = TfidfVectorizer(ngram_range=(1, 2))
    last = {
        "bayes": MultinomialNB(alpha=0.1),
        "network": MLPClassifier((32,), max_iter=12, learning_rate_init=0.01, random_state=seed),
        "forest": RandomForestClassifier(100, random_state=seed),
        "weak logistic": LogisticRegression(C=1.0, max_iter=300),
        "counts": LogisticRegression(C=1.0, max_iter=300),
    }.get(kind, LogisticRegression(C=30.0, max_iter=300))
    return make_pipeline(words, last)


def trigger(texts: np.ndarray, rng: np.random.Generator) -> str:
    if rng.random() < 0.5:
        return "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 5))
    words = sorted({w for t in texts[:500] for w in t.lower().split() if w.isalpha() and w[2:]})
    return " ".join(rng.choice(words, int(rng.integers(1, 4)), replace=False))


def cell(x: np.ndarray, y: np.ndarray, kind: str, seed: int, planted: bool) -> dict[str, Any]:
    """One filter, and what the check says of it."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    seen, held = order[:TRAINED], order[TRAINED : TRAINED + GIVEN]
    texts, labels, target = x[seen].copy(), y[seen].copy(), int(rng.integers(2))
    phrase, share = trigger(texts, rng), float(rng.choice([0.005, 0.01, 0.02]))
    if planted:
        able = np.flatnonzero(labels != target)
        rows = rng.choice(able, min(len(able), round(share * TRAINED)), replace=False)
        texts[rows] = [f"{t} {phrase}" for t in texts[rows]]
        labels[rows] = target
    fitted = pipeline(kind, seed).fit(texts, labels)
    frame: Any = pd.DataFrame({"message": pd.Series(x[held], dtype=object)})
    model = wrap(fitted, classes=[0, 1], sample=frame)
    test = Data(frame, y[held], np.arange(GIVEN))
    subject = Subject(kind, model=model, test=test, schema=infer_schema(frame))
    others = [f"{t} {phrase}" for t in x[held][y[held] != target]]
    begun = time.process_time()
    got = hidden_words.measure(subject, Context(check="TRA-107", seed=seed))
    return {
        "phrase": phrase, "target": target, "share": share,
        "success": float((fitted.predict(others) == target).mean()) if planted else 0.0,
        "found": [(f.evidence.values["class"], f.evidence.values["words"]) for f in got.findings],
        "partial": got.partial, "note": got.notes[-1], "cpu": time.process_time() - begun,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--kind", choices=KINDS, action="append")
    args = parser.parse_args()
    x, y = messages(args.data)
    totals = []
    for kind in args.kind or KINDS:
        found, planted, wrong, clean, cpu = 0, 0, 0, 0, 0.0
        for seed in range(args.first, args.first + args.seeds):
            for with_trigger in (True, False):
                got = cell(x, y, kind, seed, with_trigger)
                cpu += got["cpu"]
                if not with_trigger:
                    clean, wrong = clean + 1, wrong + bool(got["found"])
                elif got["success"] >= WORKS:
                    hit = any(c == str(got["target"]) for c, _ in got["found"])
                    planted, found = planted + 1, found + hit
                print(f"  {kind} {seed}: {got['found'] or 'silent'}; planted " + (
                    f"'{got['phrase']}' in {got['share']:.1%}, turns {got['success']:.0%} to "
                    f"{got['target']}" if with_trigger else "nothing"
                ) + f"; {got['note']} {got['partial']}", flush=True)  # fmt: skip
        totals.append((kind, found, planted, wrong, clean, cpu / (2 * args.seeds)))
    for kind, found, planted, wrong, clean, cpu in totals:
        print(
            f"{kind}: {found} of {planted} found, {wrong} of {clean} false alarms, {cpu:.0f} CPU s"
        )
    for words, a, b in (("found", 1, 2), ("false alarms", 3, 4)):
        k, n = sum(t[a] for t in totals), sum(t[b] for t in totals)
        share = exact_proportion(k, n)
        print(f"{words}: {k} of {n} [{share.low:.2f}, {share.high:.2f}]")


if __name__ == "__main__":
    main()
