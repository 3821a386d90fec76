"""A gate for incoming training data: is a batch fit to join a trusted snapshot?

The cheap tests, all on row digests: the columns, records that are there already, contradictions
of the trusted rows, labels that come otherwise than they used to from the same source, and shares
of sources after the batch has joined. Each limit that is not given allows for chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import UsageError
from crenel.provenance.contents import content_tests
from crenel.provenance.difference import equality_codes, sources_of
from crenel.provenance.envelope import read_envelope
from crenel.provenance.index import RowIndex
from crenel.provenance.label_mix import label_tests
from crenel.provenance.manifest import Table
from crenel.provenance.outcome import Test
from crenel.provenance.reading import read_columns
from crenel.provenance.rows import Roles
from crenel.provenance.side import Side
from crenel.provenance.snapshots import read_sides
from crenel.provenance.trust import GateRule, Trust, share_faults
from crenel.provenance.verification import signature_test, verify

_SHOWN = 5
_KEPT = 1000


@dataclass(frozen=True)
class Joined:
    """A batch beside the trusted rows, in terms that compare.

    Attributes
    ----------
    trusted, batch : RowIndex
    content, labels, keys : ndarray, shape (n + m,), int64
        The same number for the same value; trusted rows first. ``keys`` is None without a key.
    """

    trusted: RowIndex
    batch: RowIndex
    content: NDArray[np.int64]
    labels: NDArray[np.int64]
    keys: NDArray[np.int64] | None

    @property
    def n(self) -> int:
        """Number of trusted rows."""
        return len(self.trusted)


def gate(
    batch: Path,
    trusted: Path,
    *,
    keys: Sequence[Any] = (),
    trust: Trust | None = None,
    source: str = "",
    contents: bool = False,
) -> list[Test]:
    """Test a batch of training data before it joins.

    Parameters
    ----------
    batch : Path
        A manifest, whose signature, files and sources are verified too, or a file of rows.
    trusted : Path
        The manifest of the snapshot that it would join, its row digests beside it.
    keys : sequence of Ed25519 public keys
        Trusted for any source.
    trust : Trust, optional
        Keys and shares of the sources, and the limits of the gate.
    source : str
        Who supplied a file of rows that has no column for it.
    contents : bool
        Whether to look at the rows themselves too, for which the files must be there.

    Returns
    -------
    list of Test

    Raises
    ------
    UsageError, SubjectError
        Where a file does not exist or cannot be read.
    """
    tests = _signatures(batch, trusted, keys, trust)
    base = _one(read_sides(trusted, Roles(), {}), trusted)
    table = read_envelope(trusted)[1].table(base.name)
    assert table is not None
    side = _batch_side(batch, table, source)
    different = _columns(base, side)
    tests.append(different)
    if not different.passed:
        return tests
    rule = trust.gate if trust else GateRule()
    joined = _join(base.index, side.index)
    tests += _repeats(joined, rule)
    if table.label is not None:
        kind = next(c.type for c in table.columns if c.name == table.label)
        amounts = kind.startswith("float")
        tests += [] if amounts else _conflicts(joined, rule)
        tests += label_tests(joined.trusted, joined.batch, rule, continuous=amounts)
    if trust is not None and trust.rules:
        tests += _shares(joined, trust)
    if contents:
        tests += content_tests(base, side)
    return tests


def _signatures(batch: Path, trusted: Path, keys: Sequence[Any], trust: Trust | None) -> list[Test]:
    """The batch's own verification, and whether the trusted snapshot is signed."""
    known = [*keys, *(trust.keys if trust else ())]
    if not known:
        return []
    envelope, _ = read_envelope(trusted)
    tests = [signature_test(envelope, envelope.signers(known), f"{trusted.name}: ")]
    if batch.suffix.lower() == ".json":
        # shares are judged after the batch has joined, not within it
        return tests + verify(batch, keys=keys, trust=trust.without_shares() if trust else None)
    sentence = f"{batch.name} is no manifest, so nobody signed for it; record and sign it"
    return [*tests, Test("signature", False, sentence)]


def _one(sides: Sequence[Side], path: Path) -> Side:
    if len(sides) != 1:
        raise UsageError(
            f"{path} records {len(sides)} tables, and the gate compares one with one; "
            "record the table alone"
        )
    return sides[0]


def _batch_side(batch: Path, table: Table, source: str) -> Side:
    """The batch's rows, with the roles of the trusted table."""
    if batch.suffix.lower() == ".json":
        return _one(read_sides(batch, Roles(), {}), batch)
    columns = read_columns(batch, {c.name: c.type for c in table.columns})
    if columns is None:
        raise UsageError(f"{batch} is neither a manifest nor a file of rows")
    names = columns.names
    roles = Roles(
        label=table.label if table.label in names else None,
        source=table.source if table.source in names else None,
        key=table.key if all(k in names for k in table.key) else (),
    )
    return Side.of(columns, roles, source, batch)


def _columns(base: Side, side: Side) -> Test:
    a, b = ([(c.name, c.type) for c in s.columns] for s in (base, side))
    if a == b and base.roles != side.roles:
        sentence = f"{side.name} was recorded with another label, source or key column"
        return Test("columns", False, sentence)
    if a == b:
        return Test("columns", True, f"{side.name} has the columns of the trusted rows")
    known = dict(a)
    changes = [f"{n!r} is missing" for n, _ in a if n not in dict(b)]
    changes += [f"{n!r} is new" for n, _ in b if n not in known]
    changes += [f"{n!r} is {t}, not {known[n]}" for n, t in b if n in known and known[n] != t]
    told = ", ".join(changes[:_SHOWN]) or "their order is another"
    return Test("columns", False, f"{side.name} has other columns than the trusted rows: {told}")


def _join(trusted: RowIndex, batch: RowIndex) -> Joined:
    content = equality_codes(np.concatenate([trusted.content, batch.content]))
    texts = np.array([*trusted.labels, "", *batch.labels, ""], dtype=object)
    shift = len(trusted.labels) + 1
    _, same = np.unique(texts.astype(str), return_inverse=True)
    first = np.where(trusted.label_codes < 0, shift - 1, trusted.label_codes)
    second = np.where(batch.label_codes < 0, len(texts) - 1 - shift, batch.label_codes) + shift
    labels = same[np.concatenate([first, second])].astype(np.int64)
    keys = None
    if trusted.keys is not None and batch.keys is not None:
        keys = equality_codes(np.concatenate([trusted.keys, batch.keys]))
    return Joined(trusted, batch, content, labels, keys)


def _repeats(joined: Joined, rule: GateRule) -> list[Test]:
    """Rows that are there already, and records whose key is taken."""
    m = len(joined.batch)
    pairs = joined.content * (int(joined.labels.max(initial=0)) + 1) + joined.labels
    again = _repeated(pairs, joined.n)
    share = len(again) / max(1, m)
    told = f"{len(again):,} of {m:,} rows are there already ({share:.1%}"
    sentence = f"{told}; allowed {rule.duplicates:.1%})"
    rows = {"rows": again[:_KEPT].tolist()}
    tests = [Test("duplicates", share <= rule.duplicates, sentence, rows)]
    if joined.keys is not None:
        taken = _repeated(joined.keys, joined.n)
        sentence = f"{len(taken):,} of {m:,} records have a key that is taken{_listed(taken)}"
        tests.append(Test("keys", not len(taken), sentence, {"rows": taken[:_KEPT].tolist()}))
    return tests


def _repeated(values: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Which of the values after the first n occur before them."""
    known, fresh = _distinct(values[:n]), values[n:]
    _, first = np.unique(fresh, return_index=True)
    again = np.ones(len(fresh), dtype=bool)
    again[first] = False
    return np.flatnonzero(again | _among(fresh, known))


def _conflicts(joined: Joined, rule: GateRule) -> list[Test]:
    """Rows whose content stands elsewhere with another label: among the trusted, in the batch.

    Trusted rows contradict each other too. A row of the batch is compared with the n trusted ones,
    each of those with the n - 1 others, so that chance makes both as frequent. Within the batch
    rows are compared in blocks of at most n, where there is no more to contradict.
    """
    n, end = joined.n, len(joined.content)
    content, labels = joined.content, joined.labels
    usual = int(contradicted(content[:n], labels[:n]).sum())
    outside = contradicting(content[n:], labels[n:], content[:n], labels[:n])
    blocks = [slice(s, min(s + max(n, 1), end)) for s in range(n, end, max(n, 1))]
    inside = [np.zeros(0, dtype=bool), *(contradicted(content[b], labels[b]) for b in blocks)]
    return [
        _judged("conflicts", "trusted rows", outside, usual, n, rule),
        _judged("conflicts within", "others of the batch", np.concatenate(inside), usual, n, rule),
    ]


def _judged(
    name: str, whom: str, found: NDArray[np.bool_], usual: int, n: int, rule: GateRule
) -> Test:
    """Judge contradictions by the limit, or by how many of the n trusted rows have some."""
    from scipy.stats import fisher_exact

    m, rows = len(found), np.flatnonzero(found)
    details = {"rows": rows[:_KEPT].tolist(), "trusted": usual}
    told = f"{len(rows):,} of {m:,} rows contradict {whom} of the same content{_listed(rows)}"
    if rule.conflicts is not None:
        passed = len(rows) <= rule.conflicts * m
        return Test(name, passed, f"{told}; allowed {rule.conflicts:.2%}", details)
    counts = [[len(rows), m - len(rows)], [usual, n - usual]]
    p = float(fisher_exact(counts, alternative="greater")[1])
    sentence = f"{told}; {usual:,} of {n:,} trusted rows contradict each other (p = {p:.2g})"
    return Test(name, p >= rule.significance / 2, sentence, {**details, "p": p})


def contradicted(content: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each row's content occurs with another label too, shape (n,)."""
    return contradicting(content, labels, content, labels)


def contradicting(
    content: NDArray[np.int64],
    labels: NDArray[np.int64],
    others: NDArray[np.int64],
    other_labels: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Whether some other row has the content of each row with another label, shape (n,)."""
    kinds = int(max(labels.max(initial=0), other_labels.max(initial=0))) + 1
    most = int(max(content.max(initial=0), others.max(initial=0))) + 1
    pairs = _distinct(others * kinds + other_labels)
    known = np.bincount(pairs // kinds, minlength=most)[content]
    return np.asarray(known > _among(content * kinds + labels, pairs))


def _distinct(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Distinct values, sorted: many times faster than np.unique where most are distinct."""
    ordered = np.sort(values)
    fresh = np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]
    return np.asarray(ordered[fresh])


def _among(values: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which values are among sorted ones."""
    if len(known) == 0:
        return np.zeros(len(values), dtype=bool)
    at = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.asarray(known[at] == values)


def _shares(joined: Joined, trust: Trust) -> list[Test]:
    """Each source's share of all rows, once the batch has joined."""
    counts = dict(sources_of(joined.trusted))
    come = {name: n for name, n in sources_of(joined.batch).items() if n}
    for name, n in come.items():
        counts[name] = counts.get(name, 0) + n
    total = sum(counts.values())
    return [
        Test(
            f"share {name}",
            not (fault := share_faults(name, counts[name], total, trust)),
            f"{name or 'a source without a name'} would hold {counts[name] / total:.1%} of the rows"
            + (f"; {fault}" if fault else ""),
        )
        for name in sorted(come)
    ]


def _listed(rows: NDArray[np.int64]) -> str:
    if not len(rows):
        return ""
    more = ", …" if len(rows) > _SHOWN else ""
    return f": {', '.join(map(str, rows[:_SHOWN].tolist()))}{more}"
