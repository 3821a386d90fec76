"""Few edits of texts against plain random ones: SMS spam, and which library a paragraph is of.

Claims: a few edits that nobody sees turn the decisions of filters; the search needs far fewer
edits and queries than random ones do; normalising texts ends invisible edits, measured again
through the hardened model; decisions alone are nearly as good as scores.

Data: the SMS spam collection in ../shared/data/09_sms_spam where it is there, and paragraphs of
the documentation strings of installed packages (one class for each package), which need no
download. TextAttack's recipes need transformers, a sentence encoder and a download, and are not
run; the random baseline edits random words by the same edits with the same budget of queries.

    python benchmarks/evasion/text.py [--rows 100] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import re
import time
from pathlib import Path

import numpy as np

SMS = Path(__file__).parents[2] / "../shared/data/09_sms_spam/SMSSpamCollection"
PACKAGES = ("numpy", "scipy", "sklearn", "pandas", "joblib", "pydantic", "sqlalchemy", "rich")
BUDGETS = (1, 2, 3, 5, 10)


def sms():
    lines = [line.split("\t", 1) for line in SMS.read_text(encoding="utf-8").splitlines()]
    return [t for _, t in lines], np.array([int(k == "spam") for k, _ in lines])


def paragraphs():
    """Paragraphs of documentation strings, with the package that they come from."""
    texts, labels = [], []
    for k, package in enumerate(PACKAGES):
        try:
            root = importlib.import_module(package)
        except ImportError:
            continue
        own = sorted(set(_paragraphs(root, package)))
        texts += own[:400]
        labels += [k] * len(own[:400])
    return texts, np.unique(np.array(labels), return_inverse=True)[1]


def _paragraphs(root, package):
    seen = [root, *(m for _, m in inspect.getmembers(root, inspect.ismodule))]
    for module in seen:
        if not getattr(module, "__name__", "").startswith(package):
            continue
        for _, member in inspect.getmembers(module):
            doc = inspect.getdoc(member) if callable(member) else None
            for part in re.split(r"\n\s*\n", doc or ""):
                text = " ".join(part.split())
                if 60 <= len(text) <= 400 and ">>>" not in text and package not in text.lower():
                    yield text


def models():
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline

    runs = {"analyzer": "char_wb", "ngram_range": (2, 4), "min_df": 2}
    return {
        "words, logistic": make_pipeline(TfidfVectorizer(), LogisticRegression(C=10)),
        "words, naive Bayes": make_pipeline(TfidfVectorizer(), MultinomialNB(alpha=0.1)),
        "runs, logistic": make_pipeline(TfidfVectorizer(**runs), LogisticRegression(C=10)),
    }


def random_edits(model, texts, y, kind, queries, seed=0):
    """Edits needed by random words and random edits of them, ten tries for each number."""
    from crenel.evasion.text import characters
    from crenel.evasion.text.documents import PROTECTED, document, patterns

    edits = characters.INVISIBLE if kind == "invisible characters" else characters.TYPOS
    rng, kept = np.random.default_rng(seed), patterns(PROTECTED)
    needed = np.full(len(texts), np.inf)
    for i, text in enumerate(texts):
        made = document([text], kept)
        sizes = [e for e in range(1, 11) if e <= len(made.words)]
        if not sizes:
            continue
        trial, size = [], np.sort(rng.choice(sizes, queries))
        for e in size:
            places = rng.choice(np.array(made.words), e, replace=False)
            changes = [
                (int(p), (characters.propose(made.tokens[p], edits, 1, rng) or [""])[0], 1)
                for p in places
            ]
            trial.append(made.render(changes)[0])
        turned = np.flatnonzero(model.predict(trial) != y[i])
        needed[i] = size[turned].min() if turned.size else np.inf
    return needed


def one(name, data, model_name, model, rows, queries):
    from crenel.evasion.text import text_search
    from crenel.evasion.text.attack import KINDS

    texts, y = data
    order = np.random.default_rng(0).permutation(len(texts))
    train, test = order[: int(0.7 * len(order))], order[int(0.7 * len(order)) :]
    corpus = [texts[i] for i in train]
    model.fit(corpus, y[train])
    accuracy = float((model.predict([texts[i] for i in test]) == y[test]).mean())
    right = _as_many_of_each([i for i in test if model.predict([texts[i]])[0] == y[i]], y)[:rows]
    attacked, own = [texts[i] for i in right], y[right]
    for kind in KINDS:
        for scores in (model.predict_proba, None):
            begun = time.process_time()
            edited, found = text_search(
                model.predict, attacked, own, kind=kind, scores=scores, corpus=corpus,
                queries=queries,
            )  # fmt: skip
            seconds = time.process_time() - begun
            assert np.array_equal(model.predict(edited) != own, found.flipped)
            yield row(name, model_name, accuracy, kind, "scores" if scores else "decisions",
                      found.edits, found.queries.mean(), seconds)  # fmt: skip
        if kind != "words":
            begun = time.process_time()
            needed = random_edits(model, attacked, own, kind, queries)
            seconds = time.process_time() - begun
            yield row(name, model_name, accuracy, kind, "random edits", needed, queries, seconds)


def _as_many_of_each(rows, y):
    """Rows with the classes in turn, so that common ones do not hide rare ones."""
    groups = [[i for i in rows if y[i] == k] for k in np.unique(y)]
    return [g[j] for j in range(min(map(len, groups))) for g in groups]


def row(name, model, accuracy, kind, attack, edits, queries, seconds):
    return {
        "data": name, "model": model, "accuracy": round(accuracy, 3), "edits": kind,
        "attack": attack, "n": len(edits),
        "flipped by 1, 2, 3, 5, 10": [round(float((edits <= b).mean()), 3) for b in BUDGETS],
        "queries": round(float(queries)), "cpu_s": round(seconds, 2),
    }  # fmt: skip


def hardened(data, rows, queries):
    """The words pipeline behind the normalisation, attacked anew."""
    from sklearn.pipeline import make_pipeline

    from crenel.evasion.text.normalising import TextNormaliser

    model = models()["words, logistic"]
    return one("normalised", data, "words, logistic", make_pipeline(TextNormaliser(), *model),
               rows, queries)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="one model, 100 queries")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    queries = 100 if given.quick else 300
    worlds = {"documentation": paragraphs()}
    if SMS.exists():
        worlds = {"sms spam": sms(), **worlds}
    else:
        print(f"{SMS} is not there: documentation strings alone")
    results = []
    for name, data in worlds.items():
        for model_name, model in list(models().items())[: 1 if given.quick else None]:
            for line in one(name, data, model_name, model, given.rows, queries):
                results.append(line)
                print(line, flush=True)
    first = next(iter(worlds.values()))
    for line in hardened(first, given.rows, queries):
        results.append(line)
        print(line, flush=True)
    if given.json:
        given.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
