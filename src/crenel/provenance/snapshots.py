"""Two snapshots beside each other: their manifests, or the files themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crenel.errors import SubjectError, UsageError
from crenel.provenance.difference import CHANGES, Difference, Pairs, compare_indexes
from crenel.provenance.envelope import read_envelope
from crenel.provenance.index import RowIndex, read_index
from crenel.provenance.manifest import SHA256, Table
from crenel.provenance.reading import file_digest, read_columns
from crenel.provenance.rows import Roles
from crenel.provenance.side import Side

_ROWS = 100_000


@dataclass(frozen=True)
class Change:
    """What became of one table.

    Attributes
    ----------
    old, new : Side
    difference : Difference
    note : str
        What was left out of the comparison.
    """

    old: Side
    new: Side
    difference: Difference
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """As plain values; row numbers are cut off after 100,000 of a kind."""
        d = self.difference
        out: dict[str, Any] = {
            "old": self.old.name,
            "new": self.new.name,
            "rows": [len(self.old.index), len(self.new.index)],
            "note": self.note,
            "unchanged": d.unchanged,
            "moved": d.moved,
            "counts": d.counts(),
            "sources": d.by_source(self.old.index, self.new.index),
            "relabellings": d.relabellings(self.old.index, self.new.index),
        }
        for name in CHANGES:
            part = getattr(d, name)
            if isinstance(part, Pairs):
                listed: Any = {
                    "old": part.old[:_ROWS].tolist(),
                    "new": part.new[:_ROWS].tolist(),
                }
            else:
                listed = part[:_ROWS].tolist()
            out[name] = listed
        return out

    def lines(self, shown: int) -> list[str]:
        """Sentences for a person, with up to ``shown`` row numbers of each kind."""
        d, old, new = self.difference, self.old.index, self.new.index
        moved = f" ({d.moved:,} of them in another order)" if d.moved else ""
        counted = f"{len(old):,} rows before, {len(new):,} now, {d.unchanged:,} unchanged{moved}"
        out = [f"{self.new.name}: {counted}"]
        out += [f"  compared on the columns that both have; {self.note}"] if self.note else []
        for name, n in d.counts().items():
            if not n:
                continue
            part = getattr(d, name)
            rows = part.new if isinstance(part, Pairs) else part
            listed = ", ".join(map(str, rows[:shown].tolist())) + (", …" if n > shown else "")
            where = "row before" if name == "removed" else "row"
            out.append(
                f"  {name:<12} {n:>9,}   {where} {listed}" if shown else f"  {name:<12} {n:>9,}"
            )
        for source, counts in d.by_source(old, new).items():
            told = ", ".join(f"{n:,} {name}" for name, n in counts.items() if n)
            out.append(f"  from {source or 'a source without a name'}: {told}")
        turned = list(d.relabellings(old, new).items())[:5]
        if turned:
            out.append(f"  labels: {', '.join(f'{pair} {n:,}' for pair, n in turned)}")
        return out


def compare_snapshots(old: Path, new: Path, roles: Roles | None = None) -> list[Change]:
    """Compare the tables of two manifests, or of two files of rows.

    Parameters
    ----------
    old, new : Path
        Manifests, whose row digests lie beside them, or files.
    roles : Roles, optional
        Columns of the label, the source and the key, where files are given.

    Returns
    -------
    list of Change
        Tables are matched by name, or where each side has one only.

    Raises
    ------
    UsageError
        Where a file does not exist, or no tables match.
    SubjectError
        Where the row digests are not those of the manifest, or the columns differ and the files
        of both are not there to compare those that they share.
    """
    before = read_sides(old, roles or Roles(), {})
    known = {c.name: c.type for side in before for c in side.columns}
    after = read_sides(new, roles or before[0].roles, known)
    pairs = _matched(before, after)
    if not pairs:
        raise UsageError(
            f"{old} and {new} have no table in common; theirs are "
            f"{', '.join(s.name for s in before)} and {', '.join(s.name for s in after)}"
        )
    return [_comparable(a, b) for a, b in pairs]


def read_sides(path: Path, roles: Roles, types: dict[str, str]) -> list[Side]:
    """The tables of a manifest, or of a file of rows."""
    if not path.exists():
        raise UsageError(f"there is no file {path}")
    if path.is_dir() or path.suffix.lower() != ".json":
        columns = read_columns(path, types)
        if columns is None:
            raise UsageError(f"{path} is neither a manifest nor a file of rows")
        roles = Roles(label="label", key=("path",)) if path.is_dir() else roles
        return [Side.of(columns, roles, "", path)]
    _, manifest = read_envelope(path)
    name = manifest.predicate.rows_file
    if not name:
        raise UsageError(f"{path} records no rows, so there is nothing to compare")
    beside = path.parent / name
    recorded = next((s.digest.get(SHA256) for s in manifest.subject if s.name == name), None)
    if file_digest(beside) != recorded:
        raise SubjectError(f"{beside} is not the file that {path} records; record the data again")
    kept = read_index(beside)
    return [_side(path, table, kept) for table in manifest.predicate.tables]


def _side(path: Path, table: Table, kept: dict[str, RowIndex]) -> Side:
    index = kept.get(table.name)
    if index is None or len(index) != table.rows:
        raise SubjectError(f"the row digests beside {path} lack the table {table.name}")
    roles = Roles(table.label, table.source, table.key)
    return Side(table.name, table.columns, index, path.parent / table.name, roles)


def _matched(before: list[Side], after: list[Side]) -> list[tuple[Side, Side]]:
    if len(before) == len(after) == 1:
        return [(before[0], after[0])]
    return [(a, b) for a in before for b in after if a.name == b.name]


def _comparable(old: Side, new: Side) -> Change:
    """The difference of two sides, on the columns that both have."""
    if old.columns == new.columns and old.roles == new.roles:
        return Change(old, new, compare_indexes(old.index, new.index))
    if old.columns == new.columns:
        raise SubjectError(
            f"{old.name} and {new.name} were recorded with other label, source or key columns; "
            "record both alike"
        )
    a, b = old.types, new.types
    told = [f"{n!r} is gone" for n in a if n not in b]
    told += [f"{n!r} is new" for n in b if n not in a]
    told += [f"{n!r} was {a[n]} and is {b[n]}" for n in a if n in b and a[n] != b[n]]
    note = f"other columns: {', '.join(told[:5]) or 'their order is another'}"
    common = tuple(n for n in a if b.get(n) == a[n])
    if not common:
        raise SubjectError(f"{old.name} and {new.name} have no column in common; {note}")
    try:
        before, after = _on_columns(old, common), _on_columns(new, common)
    except SubjectError as error:
        raise SubjectError(f"{new.name} has {note}, and with them every row is; {error}") from error
    return Change(before, after, compare_indexes(before.index, after.index), note)


def _on_columns(side: Side, names: tuple[str, ...]) -> Side:
    """The same rows with fewer columns, made again from the file."""
    roles = Roles(
        label=side.roles.label if side.roles.label in names else None,
        source=side.roles.source if side.roles.source in names else None,
        key=side.roles.key if all(k in names for k in side.roles.key) else (),
    )
    source = side.index.sources[0] if len(side.index.sources) == 1 else ""
    made = Side.of(side.rows().select(names), roles, source, side.file)
    return replace(made, name=side.name)
