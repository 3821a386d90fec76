"""Record a snapshot: digests of files and rows, who supplied them, what they were made from."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crenel.errors import SubjectError, UsageError
from crenel.provenance.columns import Columns
from crenel.provenance.envelope import Envelope, bundle_file, read_envelope
from crenel.provenance.index import RowIndex, write_index
from crenel.provenance.keyless_signing import Signed, Signer
from crenel.provenance.manifest import (
    ROWS,
    SHA256,
    Column,
    Imported,
    Manifest,
    Parent,
    Predicate,
    Source,
    Subject,
    Table,
    Transform,
    now,
)
from crenel.provenance.merkle import merkle_root
from crenel.provenance.reading import file_digest, read_columns
from crenel.provenance.rows import Roles, index_rows


@dataclass(frozen=True)
class Statement:
    """What a person states about the data that no digest can show.

    Attributes
    ----------
    sources : tuple of str
        Who supplied each path, or one for all; none where a column says so.
    licence, collected, uri, transform : str
        Terms; time of collection; where it came from; the command that made the files.
    transform_file : Path or None
        Code that made the files.
    parents : tuple of Path
        Manifests of what they were made from.
    """

    sources: tuple[str, ...] = ()
    licence: str = ""
    collected: str = ""
    uri: str = ""
    transform: str = ""
    transform_file: Path | None = None
    parents: tuple[Path, ...] = ()


@dataclass
class Recorded:
    """A snapshot that was recorded.

    Attributes
    ----------
    manifest : Manifest
    indexes : dict of str to RowIndex
        By the name of the table.
    """

    manifest: Manifest
    indexes: dict[str, RowIndex] = field(default_factory=dict)


def rows_file(manifest: Path) -> Path:
    """The file beside a manifest that holds the digests of its rows."""
    return manifest.with_name(f"{manifest.name}.rows")


def record(
    paths: Sequence[Path],
    out: Path,
    *,
    statement: Statement | None = None,
    roles: Roles | None = None,
    types: Mapping[str, str] | None = None,
    imported: Sequence[Imported] = (),
    private: Any = None,
) -> Recorded:
    """Record files in a manifest and, beside it, the digests of their rows.

    Parameters
    ----------
    paths : sequence of Path
        Files and folders.
    out : Path
        The manifest to write; the row digests go to the same name with ``.rows`` added.
    statement : Statement
    roles : Roles
        Columns of the label, the source and the key; used in those tables that have them.
    types : mapping, optional
        Canonical types of columns of text files.
    imported : sequence of Imported
    private : Ed25519 private key, optional
        See `crenel.provenance.keys.read_private`; without one the manifest has no signature.

    Raises
    ------
    UsageError
        Where a file or column does not exist or names do not fit.
    SubjectError
        Where a file cannot be read.
    """
    statement, roles = statement or Statement(), roles or Roles()
    sources = _sources(paths, statement, roles)
    names = _names(paths, out.parent)
    subjects, tables, indexes = [], [], {}
    found: set[str] = set()
    for path, name, source in zip(paths, names, sources):
        columns = _read(path, _parents_types(statement), types or {})
        digest = {} if path.is_dir() else {SHA256: file_digest(path)}
        if columns is not None:
            here = _present(roles, columns.names, path.is_dir())
            found |= {n for n in (here.label, here.source, *here.key) if n}
            index = indexes[name] = index_rows(columns, here, source)
            root = digest[ROWS] = merkle_root(index.digests).hex()
            described = tuple(Column(name=n, type=t) for n, t in zip(columns.names, columns.types))
            tables.append(
                Table(
                    name=name,
                    rows=columns.rows,
                    columns=described,
                    merkle_root=root,
                    label=here.label,
                    source=here.source,
                    key=here.key,
                )
            )
        subjects.append(Subject(name=name, digest=digest))
    _all_found(roles, found, tables)
    beside = rows_file(out)
    if indexes:
        write_index(beside, indexes)
        subjects.append(Subject(name=beside.name, digest={SHA256: file_digest(beside)}))
    predicate = Predicate(
        recorded=now(),
        sources=_counted(indexes, statement, sources),
        tables=tuple(tables),
        parents=tuple(_parent(p) for p in statement.parents),
        transform=_transform(statement),
        imported=tuple(imported),
        rows_file=beside.name if indexes else "",
    )
    manifest = Manifest(subject=tuple(subjects), predicate=predicate)
    envelope = Envelope(manifest.to_bytes())
    _write(out, (envelope if private is None else envelope.signed(private)).to_bytes())
    return Recorded(manifest, indexes)


def sign(path: Path, private: Any) -> Envelope:
    """Add a signature to a manifest, in its file.

    Raises
    ------
    UsageError, SubjectError
        Where it cannot be read or written.
    """
    envelope = read_envelope(path)[0].signed(private)
    _write(path, envelope.to_bytes())
    return envelope


def sign_by_identity(path: Path, signer: Signer) -> tuple[Path, Signed]:
    """Sign a manifest's file by an identity, through Sigstore, in a file beside it.

    The file as it is now is signed, signatures of keys in it too: one that is added later breaks
    it.

    Returns
    -------
    Path, Signed
        The bundle's file, and who signed.

    Raises
    ------
    UsageError, SubjectError
        Where it cannot be read or written, or nobody's identity is known.
    CrenelError
        Where the services gave no signature.
    """
    signed = signer.sign_content(read_envelope(path)[0].to_bytes())
    beside = bundle_file(path)
    _write(beside, signed.bundle)
    return beside, signed


def _write(out: Path, content: bytes) -> None:
    try:
        out.write_bytes(content)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}") from error


def _parents_types(statement: Statement) -> dict[str, str]:
    """Types of the columns in the snapshots that this one was made from."""
    found: dict[str, str] = {}
    for path in statement.parents:
        for table in read_envelope(path)[1].predicate.tables:
            found |= {c.name: c.type for c in table.columns}
    return found


def _read(path: Path, known: Mapping[str, str], types: Mapping[str, str]) -> Columns | None:
    """The rows of a file, text with the types of its parents where it still has them."""
    if known:
        try:
            return read_columns(path, {**known, **types})
        except SubjectError:
            pass  # a column is of another type now
    return read_columns(path, types)


def _sources(paths: Sequence[Path], statement: Statement, roles: Roles) -> list[str]:
    if not paths:
        raise UsageError("name the files to record: crenel provenance record train.csv")
    given = statement.sources
    if roles.source is not None and given:
        raise UsageError(
            f"the column {roles.source!r} says who supplied each row; leave out --source"
        )
    if len(given) not in (0, 1, len(paths)):
        raise UsageError(
            f"{len(given)} sources are named for {len(paths)} files; name one for all, or one each"
        )
    return list(given) * (len(paths) if len(given) == 1 else 1) or [""] * len(paths)


def _names(paths: Sequence[Path], folder: Path) -> list[str]:
    """Paths from the manifest's folder, with forward slashes."""
    for path in paths:
        if not path.exists():
            raise UsageError(f"there is no file {path}")
    names = [Path(os.path.relpath(p.resolve(), folder.resolve())).as_posix() for p in paths]
    twice = [n for i, n in enumerate(names) if n in names[:i]]
    if twice:
        raise UsageError(f"{twice[0]} is named twice")
    return names


def _present(roles: Roles, names: Sequence[str], folder: bool) -> Roles:
    """The roles that a table's columns can take; a folder's listing has its own."""
    if folder:
        return Roles(label="label", key=("path",))
    key = roles.key if all(k in names for k in roles.key) else ()
    return Roles(
        label=roles.label if roles.label in names else None,
        source=roles.source if roles.source in names else None,
        key=key,
    )


def _all_found(roles: Roles, found: set[str], tables: Sequence[Table]) -> None:
    for role, name in (
        ("label", roles.label),
        ("source", roles.source),
        *(("key", k) for k in roles.key),
    ):
        if name is not None and name not in found:
            columns = ", ".join(c.name for t in tables[:1] for c in t.columns[:20]) or "none"
            raise UsageError(
                f"no table has the column {name!r}, named as {role}; columns: {columns}"
            )


def _counted(
    indexes: Mapping[str, RowIndex], statement: Statement, sources: Sequence[str]
) -> tuple[Source, ...]:
    """Sources with their rows, in the order of their names."""
    counts: Counter[str] = Counter({name: 0 for name in sources if name})
    for index in indexes.values():
        rows = np.bincount(index.source_codes, minlength=len(index.sources))
        counts.update({name: int(n) for name, n in zip(index.sources, rows) if n})
    said = {
        "licence": statement.licence,
        "collected": statement.collected,
        "uri": statement.uri,
    }
    return tuple(Source(name=n, rows=c, **said) for n, c in sorted(counts.items()))


def _parent(path: Path) -> Parent:
    import hashlib

    envelope, _ = read_envelope(path)
    return Parent(name=path.name, sha256=hashlib.sha256(envelope.payload).hexdigest())


def _transform(statement: Statement) -> Transform | None:
    file = statement.transform_file
    if file is None and not statement.transform:
        return None
    return Transform(
        description=statement.transform,
        file="" if file is None else file.name,
        sha256="" if file is None else file_digest(file),
    )
