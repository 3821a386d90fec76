"""EVA-105 measured: the searches over texts as curves, tests and findings."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.access import Access, Attacker
from crenel.check import Context, Measurement, access_of
from crenel.errors import NotApplicable
from crenel.evasion.curves import flip_curve, percent, within
from crenel.evasion.fields.report import right_rows
from crenel.evasion.text.asking import Oracle, by_argmax
from crenel.evasion.text.attack import KINDS, TAUGHT, character_editor, word_editor
from crenel.evasion.text.columns import Texts, text_features
from crenel.evasion.text.documents import Document
from crenel.evasion.text.findings import findings
from crenel.evasion.text.guides import surrogate
from crenel.evasion.text.healthy import converged, finds_planted, no_weaker, swapped, verified
from crenel.evasion.text.importance import Ranking, rank_words
from crenel.evasion.text.search import Editor, TextSearch, search
from crenel.exposure import Exposure, Health, HealthTest
from crenel.subject import Data, Subject

if TYPE_CHECKING:
    from crenel.model import Model

CHECK = "EVA-105"
#: Texts attacked, and queries for each and for each kind of edits.
ROWS = {"quick": 80, "standard": 150, "deep": 300}
QUERIES = {"quick": 100, "standard": 300, "deep": 1000}
#: Numbers of edits, and shares of the text, on the curves.
EDITS = (1, 2, 3, 5, 10)
SHARES = (0.01, 0.02, 0.05, 0.1)
#: Query budgets of the last curve.
GRID = (1, 3, 10, 30, 100, 300, 1000, 3000)
#: Texts of the comparisons with decisions only, and with half of the queries.
FEW, HALVED = 30, 40


@dataclass(frozen=True)
class Attacked:
    """The texts that were attacked, and what each search found.

    Attributes
    ----------
    data : Data
    texts : Texts
    documents : list of Document
    found : dict of str to TextSearch
        By series.
    editors : dict of str to Editor
    spent : ndarray of int64, shape (n,)
        Queries of the ranking, which the searches share.
    access : Access
    model : Model
    """

    data: Data
    texts: Texts
    documents: list[Document]
    found: dict[str, TextSearch]
    editors: dict[str, Editor]
    spent: NDArray[np.int64]
    access: Access
    model: Model

    @property
    def n(self) -> int:
        """Number of texts attacked."""
        return len(self.data)

    def share(self, series: str) -> NDArray[np.float64]:
        """Edits for each character, or changed words for each word, (n,)."""
        found = self.found[series]
        if series != "words":
            return found.share
        return found.edits / np.maximum(1, [d.count for d in self.documents])

    def first(self) -> NDArray[np.float64]:
        """Queries until the first witness of any kind, the kinds tried one after the other."""
        best, before = np.full(self.n, np.inf), np.zeros(self.n)
        for found in self.found.values():
            best = np.minimum(best, before + found.first)
            before += found.queries - self.spent
        return best


def measure(subject: Subject, context: Context) -> Measurement:
    """Search for few edits of texts that turn right decisions."""
    model, test, schema = subject.model, subject.test, subject.schema
    assert model is not None
    assert test is not None
    features = () if schema is None else text_features(schema)
    if not features:
        raise NotApplicable("no column is free text that an attacker can change")
    data = right_rows(model, test, ROWS[context.level], context.rng("rows"))
    texts = Texts(data.x, features)
    reference = Texts(test.x if subject.train is None else subject.train.x, features)
    labels = model.score is None or subject.access.attacker in (Attacker.LABELS, Attacker.NONE)
    access = access_of(subject, attacker=Attacker.LABELS if labels else Attacker.SCORES)
    queries = min(QUERIES[context.level], max(1, (access.queries_per_day or 10**9) // len(KINDS)))
    job = _Job(model, texts, data.y, reference, queries, context)
    oracle = job.oracle(labels)
    documents = texts.documents()
    rankings, spent = rank_words(documents, oracle, context.derive_seed("rank"), job.most)
    found: dict[str, TextSearch] = {}
    for k, kind in enumerate(KINDS):
        oracle.deadline = _until(context, len(KINDS) - k)
        found[kind] = job.search(documents, oracle, kind, rankings, spent)
        context.progress(0.25 * (k + 1))
    a = Attacked(
        data, texts, documents, found, job.editors, np.array(spent, dtype=np.int64), access, model
    )
    tests = _health(a, job, oracle, labels)
    exposures = _exposures(a, job, oracle.asked, tests)
    return Measurement(exposures, tuple(findings(a)), tuple(_notes(a, labels, job)))


def _until(context: Context, left: int) -> float | None:
    """The deadline of one search, of which as many are left; a quarter is for the tests."""
    if context.deadline is None:
        return None
    return time.monotonic() + 0.75 * context.time_left() / left


class _Job:
    """What the searches of one measurement share."""

    def __init__(
        self, model: Model, texts: Texts, y: NDArray[np.int64], reference: Texts, queries: int,
        context: Context,
    ) -> None:  # fmt: skip
        self.model, self.texts, self.y, self.queries = model, texts, y, queries
        self.context, self.reference = context, reference
        self.seed = context.derive_seed("search")
        self.corpus = reference.joined()
        pick = np.sort(context.rng("taught").permutation(len(self.corpus))[:TAUGHT])
        self.taught = [self.corpus[i] for i in pick]
        self.decided = np.asarray(model.predict(reference.render_own(pick)), dtype=np.int64)
        synonyms = [group for f in texts.features for group in f.synonyms]
        self.editors: dict[str, Editor] = {k: character_editor(k) for k in KINDS if k != "words"}
        self.editors["words"] = word_editor(
            self.corpus, self.taught, self.decided, model.k, synonyms, self.seed
        )
        self.most = max(1, min(40, queries // 3))

    def oracle(self, labels_only: bool) -> Oracle:
        """The model as the attacker asks it."""
        scores = None if labels_only else self.model.score
        made = Oracle(self.texts.render, self.y, self.model.predict, scores, asked=len(self.taught))
        if scores is None:
            made.guide = surrogate(self.taught, self.decided, self.y, self.model.k, self.seed)
        else:
            made.argmax = by_argmax(self.model.predict, scores, self.texts.x)
        return made

    def search(
        self, documents: list[Document], oracle: Oracle, kind: str, rankings: list[Ranking],
        spent: list[int], queries: int | None = None,
    ) -> TextSearch:  # fmt: skip
        """One search for one kind of edits."""
        return search(
            documents, oracle, self.editors[kind], rankings,
            max_edits=EDITS[-1], queries=queries or self.queries, spent=spent, seed=self.seed,
        )  # fmt: skip


def _health(a: Attacked, job: _Job, oracle: Oracle, labels: bool) -> dict[str, list[HealthTest]]:
    """For each series the tests that its search worked."""
    both = [swapped(a.model, job.reference.x, job.context.rng("swap"))]
    tests: dict[str, list[HealthTest]] = {}
    for series, found in a.found.items():
        editor = a.editors[series]
        tests[series] = [
            *both, verified(found, a.documents, oracle, editor),
            converged(found, _halved(a, job, oracle, series), series),
            finds_planted(a.documents, job.taught[:200], editor, labels, job.seed),
        ]  # fmt: skip
        if not labels:
            tests[series].append(_compared(a, job, series))
    return tests


def _halved(a: Attacked, job: _Job, oracle: Oracle, series: str) -> TextSearch:
    """The same search with half of the queries, on some of the texts."""
    some, queries = slice(0, HALVED), max(1, job.queries // 2)
    again = replace(oracle, y=a.data.y[some], deadline=job.context.deadline)
    rankings, spent = rank_words(a.documents[some], again, job.seed, max(1, job.most // 2))
    return job.search(a.documents[some], again, series, rankings, spent, queries)


def _compared(a: Attacked, job: _Job, series: str) -> HealthTest:
    """The same search by decisions alone, on a few of the texts."""
    few = slice(0, FEW)
    blind = replace(job.oracle(True), y=a.data.y[few], deadline=job.context.deadline)
    rankings, spent = rank_words(a.documents[few], blind, job.seed, job.most)
    found = job.search(a.documents[few], blind, series, rankings, spent)
    return no_weaker(a.found[series], found, len(found.flipped), series)


def _exposures(
    a: Attacked, job: _Job, asked: int, tests: dict[str, list[HealthTest]]
) -> tuple[Exposure, ...]:
    """A curve for each series, and two of all: by the share of the text, and by queries."""
    common: dict[str, Any] = {
        "check": CHECK, "n": a.n, "access": a.access, "seed": job.context.seed,
        "queries": asked, "seconds": job.context.elapsed,
    }  # fmt: skip
    made = [_by_edits(a, series, Health.of(*tests[series]), common) for series in a.found]
    everything = Health.of(*dict.fromkeys(t for found in tests.values() for t in found))
    least = np.min([a.share(series) for series in a.found], axis=0)
    by_share = within(least, SHARES)
    most = job.queries * len(a.found)
    grid = [*(q for q in GRID if q < most), most]
    by_queries = within(a.first(), grid)
    made.append(flip_curve(
        name="edited share of the text", unit="of characters, or of words", series="share",
        budgets=SHARES, shares=by_share, health=everything, scale="log", **common,
        headline=f"editing 5 % of a text flips {percent(by_share[2])} of correct decisions",
    ))  # fmt: skip
    made.append(flip_curve(
        name="queries", unit="queries", series="queries", budgets=grid, shares=by_queries,
        health=everything, scale="log", **common,
        headline=f"{grid[-1]} queries flip {percent(by_queries[-1])} of correct decisions by at "
        f"most {EDITS[-1]} edits",
    ))  # fmt: skip
    return tuple(made)


#: What one edit of a series is called, one and many.
NAMES = {
    "invisible characters": ("1 invisible character", "{} invisible characters"),
    "typos": ("1 typing error", "{} typing errors"),
    "words": ("1 changed word", "{} changed words"),
}


def _by_edits(a: Attacked, series: str, health: Health, common: dict[str, Any]) -> Exposure:
    shares = within(a.found[series].edits, EDITS)
    many = NAMES[series][1].format(EDITS[2])
    return flip_curve(
        name="edits", unit="edits", series=series, budgets=EDITS, shares=shares, health=health,
        headline=f"{many} flip {percent(shares[2])} of correct decisions", **common,
    )  # fmt: skip


def _notes(a: Attacked, labels: bool, job: _Job) -> list[str]:
    notes = []
    bare = sum(not d.words for d in a.documents)
    if bare:
        notes.append(f"{bare} of {a.n} texts have no word that may be edited; they count as held.")
    if labels:
        notes.append(f"The attacker learns a guide from decisions on {len(job.taught)} texts.")
    if not all(f.complete for f in a.found.values()):
        notes.append("Time ran out before all edits were tried.")
    return notes
