"""Verify a snapshot: signatures, files, rows, and the trust policy."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crenel.errors import CrenelError, UsageError
from crenel.provenance.difference import sources_of
from crenel.provenance.envelope import Envelope, bundle_file, read_envelope
from crenel.provenance.index import RowIndex, read_index
from crenel.provenance.keyless import Identity, verify_content
from crenel.provenance.keys import keyid_of
from crenel.provenance.manifest import ROWS, SHA256, Manifest, Subject, Table
from crenel.provenance.merkle import merkle_root
from crenel.provenance.outcome import Test
from crenel.provenance.reading import file_digest, read_columns
from crenel.provenance.rows import Roles, index_rows
from crenel.provenance.trust import Trust, judge_sources

_SHOWN = 5
#: Bytes of a signature by identity that are read.
_MOST_BYTES = 1 << 20


def verify(
    path: Path,
    *,
    keys: Sequence[Any] = (),
    trust: Trust | None = None,
    identity: Identity | None = None,
    parent: Path | None = None,
    rows: bool = True,
) -> list[Test]:
    """Verify a manifest and the files that it names.

    Parameters
    ----------
    path : Path
        The manifest.
    keys : sequence of Ed25519 public keys
        Trusted for any source.
    trust : Trust, optional
        Trusted keys and limits for each source.
    identity : Identity, optional
        Who must have signed through Sigstore, in the file beside it; trusted for any source.
    parent : Path, optional
        A manifest that this one must say it was made from: an older snapshot passed off as the
        newest one does not.
    rows : bool
        Whether the digests of the rows are made again too, from the files: also where a file's
        own digest is right, which proves that whoever signed recorded its rows truly.

    Returns
    -------
    list of Test

    Raises
    ------
    UsageError
        Where nobody is trusted, or the manifest does not exist.
    SubjectError
        Where the manifest is none, or was rewritten.
    """
    if not keys and trust is None and identity is None:
        raise UsageError(
            "a signature proves nothing without a key that you trust; name it: --key NAME.pub, "
            "a policy with --policy, or who signed with --identity"
        )
    envelope, manifest = read_envelope(path)
    known = [*keys, *(trust.keys if trust else ())]
    signers = envelope.signers(known)
    tests = [] if identity is None else [_by_identity(path, envelope, identity)]
    own = bool(tests and tests[0].passed) or bool(signers & {keyid_of(key) for key in keys})
    if keys or (trust is not None and identity is None):
        tests.append(signature_test(envelope, signers))
    if trust is not None:
        tests += judge_sources(manifest, signers, trust, signed_for_all=own)
    if parent is not None:
        tests.append(_parent(manifest, parent))
    kept, test = _index(manifest, path)
    tests += [test] if test is not None else []
    tests.append(_counts(manifest, kept))
    for subject in manifest.subject:
        if subject.name != manifest.predicate.rows_file:
            table = manifest.table(subject.name)
            tests += _subject(path.parent / subject.name, subject, table, kept, rows)
    return tests


def signature_test(envelope: Envelope, signers: set[str], where: str = "") -> Test:
    """Whether one of the trusted keys has signed: ``signers`` are those that did."""
    if signers:
        shown = ", ".join(sorted(k[:16] for k in signers))
        sentence = f"{where}signed by the trusted key {shown}"
        return Test("signature", True, sentence, {"keys": sorted(signers)})
    if not envelope.signatures:
        sentence = f"{where}the manifest is not signed; sign it: crenel provenance sign"
        return Test("signature", False, sentence)
    return Test("signature", False, f"{where}no signature of a trusted key is right")


def _by_identity(path: Path, envelope: Envelope, identity: Identity) -> Test:
    """Whether the file beside a manifest is an identity's signature of it."""
    beside = bundle_file(path)
    try:
        with beside.open("rb") as file:
            bundle = file.read(_MOST_BYTES + 1)
    except OSError as error:
        sentence = f"{beside.name}, the signature by identity, cannot be read: {error.strerror}"
        return Test("signature", False, sentence)
    if len(bundle) > _MOST_BYTES:
        return Test("signature", False, f"{beside.name} is larger than any signature of a file")
    return verify_content(envelope.to_bytes(), bundle, identity)


def _parent(manifest: Manifest, path: Path) -> Test:
    """Whether a manifest stands among the parents."""
    digest = hashlib.sha256(read_envelope(path)[0].payload).hexdigest()
    made = any(p.sha256 == digest for p in manifest.predicate.parents)
    told = "was made from" if made else "does not say that it was made from"
    return Test("parent", made, f"the snapshot {told} {path.name}")


def _counts(manifest: Manifest, kept: Mapping[str, RowIndex]) -> Test:
    """Whether the sources have as many rows as is stated, where the row digests are there."""
    stated = {s.name: s.rows for s in manifest.predicate.sources if s.rows}
    tables = sum(t.rows for t in manifest.predicate.tables)
    sentence = f"{tables:,} rows of {len(stated)} sources"
    found: Counter[str] = Counter()
    for table in manifest.predicate.tables:
        if table.name in kept:
            found.update({n: c for n, c in sources_of(kept[table.name]).items() if c})
    same = stated == dict(found) if kept else sum(stated.values()) == tables
    return Test("counts", same, sentence if same else f"{sentence}, who supplied others than that")


def _index(manifest: Manifest, path: Path) -> tuple[dict[str, RowIndex], Test | None]:
    """The row digests kept beside a manifest, and whether they are those recorded."""
    name = manifest.predicate.rows_file
    if not name:
        return {}, None
    subject = next((s for s in manifest.subject if s.name == name), None)
    try:
        beside = path.parent / name
        if subject is None or file_digest(beside) != subject.digest.get(SHA256):
            return {}, Test(name, False, f"{name} is not the file that was recorded")
        kept = read_index(beside)
    except CrenelError as error:
        return {}, Test(name, None, str(error))
    for table in manifest.predicate.tables:
        index = kept.get(table.name)
        if index is None or merkle_root(index.digests).hex() != table.merkle_root:
            return {}, Test(name, False, f"{name} does not hold the rows of {table.name}")
    return kept, Test(name, True, f"{name} holds the recorded digests of the rows")


def _subject(
    path: Path, subject: Subject, table: Table | None, kept: dict[str, RowIndex], rows: bool
) -> list[Test]:
    """Tests of one file or folder."""
    name = subject.name
    if not path.exists():
        return [Test(name, None, f"{name} is not there")]
    try:
        digest = subject.digest.get(SHA256)
        same = digest is not None and file_digest(path) == digest
        if same and (table is None or not rows):
            return [Test(name, True, f"{name} is the file that was recorded")]
        if table is None:
            return [Test(name, False, f"{name} is not the file that was recorded")]
        columns = read_columns(path, {c.name: c.type for c in table.columns})
        described = tuple((c.name, c.type) for c in table.columns)
        if columns is None or tuple(zip(columns.names, columns.types)) != described:
            return [Test(name, False, f"{name} does not have the columns that were recorded")]
        index = kept.get(name)
        roles = Roles(table.label, table.source, table.key)
        supplier = index.sources[0] if index is not None and len(index.sources) == 1 else ""
        found = index_rows(columns, roles, supplier)
    except CrenelError as error:
        return [Test(name, False, f"{name} is not the file that was recorded: {error}")]
    right = merkle_root(found.digests).hex() == table.merkle_root == subject.digest.get(ROWS)
    right = right and columns.rows == table.rows
    if not right:
        return [_changed(name, found.digests, index, same)]
    if index is not None and not found.equals(index):
        told = f"the labels, sources or keys kept of {name} are not those of its rows"
        return [Test(name, False, told)]
    if same or digest is None:
        told = f"{name} is as recorded, and so is each of its {table.rows:,} rows"
        return [Test(name, True, told)]
    told = f"{name} holds the rows that were recorded, in other bytes: record it again"
    return [Test(name, False, told)]


def _changed(name: str, found: Any, index: RowIndex | None, same: bool) -> Test:
    """Which rows are not those recorded, as far as the kept digests tell."""
    if same:
        return Test(
            name, False, f"{name} is the recorded file, but the recorded rows are not its own"
        )
    if index is None or len(index) != len(found):
        counted = "" if index is None else f": {len(found):,} rows in place of {len(index):,}"
        return Test(name, False, f"{name} does not hold the rows that were recorded{counted}")
    rows = np.flatnonzero((found != index.digests).any(axis=1))
    shown = ", ".join(map(str, rows[:_SHOWN].tolist())) + (", …" if len(rows) > _SHOWN else "")
    return Test(
        name,
        False,
        f"{len(rows):,} of {len(found):,} rows of {name} are not those recorded: {shown}",
        {"rows": rows[:1000].tolist()},
    )
