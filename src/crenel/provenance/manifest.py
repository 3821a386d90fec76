"""The manifest of a snapshot: an in-toto Statement v1 whose predicate says where data comes from.

The subjects are the files. A table's subject carries, beside the file's SHA-256, the Merkle root
over its rows, which stays the same when the table is stored in another format.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from crenel.errors import SubjectError

#: Names of the digests of a subject: the file's bytes, and the rows' Merkle root.
SHA256, ROWS = "sha256", "crenelRows1"

_HEX = Field(pattern="^[0-9a-f]{64}$")


class Part(BaseModel):
    """A frozen part of a manifest; keys are in camel case in JSON, unknown ones an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )


class Column(Part):
    """A column's name and canonical type, see `crenel.provenance.columns.Columns`."""

    name: str
    type: str


class Table(Part):
    """The rows of one subject.

    Parameters
    ----------
    name : str
        Of the subject.
    rows : int
    columns : tuple of Column
        In their order.
    merkle_root : str
        Over the digests of the rows, in their order, hexadecimal.
    label, source : str or None
        Columns with these roles.
    key : tuple of str
        Columns that together name a record.
    """

    name: str
    rows: int = Field(ge=0)
    columns: tuple[Column, ...]
    merkle_root: str = _HEX
    label: str | None = None
    source: str | None = None
    key: tuple[str, ...] = ()


class Source(Part):
    """Who supplied rows, on which terms, when.

    Parameters
    ----------
    name : str
    rows : int
        Of all tables together.
    licence, collected, uri : str
        As stated by whoever records; empty where nothing is.
    """

    name: str
    rows: int = Field(default=0, ge=0)
    licence: str = ""
    collected: str = ""
    uri: str = ""


class Transform(Part):
    """What made the files: a command, the code's digest."""

    description: str = ""
    file: str = ""
    sha256: str = ""


class Parent(Part):
    """A manifest that this snapshot was made from.

    Parameters
    ----------
    name : str
        Of its file.
    sha256 : str
        Of its statement: the signed bytes.
    """

    name: str
    sha256: str = _HEX


class Imported(Part):
    """What another format says of the data.

    Parameters
    ----------
    format : {"croissant", "dvc", "mlflow"}
    file : str
    sha256 : str
        Of that file.
    fields : dict
        Name, version, licence and the like, as they stand there.
    agrees : tuple of str
        Subjects whose digest in that file is right.
    unproven : tuple of str
        Notes on digests that are too weak to prove anything.
    """

    format: Literal["croissant", "dvc", "mlflow"]
    file: str
    sha256: str = _HEX
    fields: dict[str, Any] = Field(default_factory=dict)
    agrees: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()


class Predicate(Part):
    """What is said of the subjects.

    Parameters
    ----------
    recorded : str
        Time of recording, UTC, ISO 8601.
    sources, tables, parents, imported : tuple
    transform : Transform or None
    rows_file : str
        The subject that holds the digests of the rows.
    """

    recorded: str
    sources: tuple[Source, ...] = ()
    tables: tuple[Table, ...] = ()
    parents: tuple[Parent, ...] = ()
    transform: Transform | None = None
    imported: tuple[Imported, ...] = ()
    rows_file: str = ""


class Subject(Part):
    """A file (its path from the manifest's folder) or folder, and its digests."""

    name: str
    digest: dict[str, str]


class Manifest(BaseModel):
    """An in-toto Statement v1 over the files of a snapshot.

    Parameters
    ----------
    subject : tuple of Subject
    predicate : Predicate
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    type: Literal["https://in-toto.io/Statement/v1"] = Field(
        default="https://in-toto.io/Statement/v1", alias="_type"
    )
    subject: tuple[Subject, ...]
    predicate_type: Literal["urn:crenel:dataset:1.0"] = Field(
        default="urn:crenel:dataset:1.0", alias="predicateType"
    )
    predicate: Predicate

    def table(self, name: str) -> Table | None:
        """The table of a subject; None where it has no rows."""
        return next((t for t in self.predicate.tables if t.name == name), None)

    def to_bytes(self) -> bytes:
        """Canonical JSON: what is signed."""
        return canonical(self.model_dump(mode="json", by_alias=True))


def parse_manifest(content: bytes, name: str) -> Manifest:
    """A manifest from its JSON.

    Raises
    ------
    SubjectError
        Where it is none; the sentence says at which place.
    """
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"]) or "the statement"
        raise SubjectError(f"{name} is no manifest of crenel: {place}: {first['msg']}") from error


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces, UTF-8."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def now() -> str:
    """The time, UTC, ISO 8601 to the second; ``SOURCE_DATE_EPOCH`` where it is set."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    moment = datetime.fromtimestamp(int(fixed), UTC) if fixed.isdigit() else datetime.now(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
