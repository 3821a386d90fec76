"""What is signed of a model: an in-toto statement as OpenSSF Model Signing (OMS, 2025) writes it.

The predicate lists every file with its digest; the one subject carries the SHA-256 over those
digests in their order. Statements of the early predicate ``Digests/v0.1``, where each file is a
subject, are read too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from crenel.errors import SubjectError
from crenel.provenance.manifest import canonical
from crenel.provenance.model_files import by_parts, printable

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://model_signing/signature/v1.0"
EARLY = "https://model_signing/Digests/v0.1"

_LENGTHS = {"sha256": 32, "blake2b": 64}


@dataclass(frozen=True)
class Piece:
    """A file, or a part of it, and its digest.

    Attributes
    ----------
    digest : bytes
    start, end : int, int or None
        Bytes of the file; None for the whole of it.
    """

    digest: bytes
    start: int = 0
    end: int | None = None


@dataclass(frozen=True)
class ModelStatement:
    """The files of a model as they were signed.

    Attributes
    ----------
    model : str
        Name of the folder or file when it was signed; nothing depends on it.
    files : mapping of str to tuple of Piece
        By POSIX path from the folder; ``.`` is the model itself where it is one file.
    algorithm : {"sha256", "blake2b"}
    ignored : tuple of str or None
        What the signer left out; None where the statement does not say.
    symlinks : bool
        Whether links to files were signed as those files.
    """

    model: str
    files: Mapping[str, tuple[Piece, ...]]
    algorithm: str = "sha256"
    ignored: tuple[str, ...] | None = None
    symlinks: bool = False

    def to_bytes(self) -> bytes:
        """The statement's JSON, with whole files in the order of their paths."""
        names = sorted(self.files, key=by_parts)
        digests = [self.files[name][0].digest for name in names]
        serialization: dict[str, Any] = {
            "method": "files", "hash_type": self.algorithm, "allow_symlinks": self.symlinks
        }  # fmt: skip
        if self.ignored:
            serialization["ignore_paths"] = list(self.ignored)
        resources = [
            {"name": name, "algorithm": self.algorithm, "digest": digest.hex()}
            for name, digest in zip(names, digests)
        ]
        root = hashlib.sha256(b"".join(digests)).hexdigest()
        return canonical(
            {
                "_type": STATEMENT,
                "subject": [{"name": self.model, "digest": {"sha256": root}}],
                "predicateType": PREDICATE,
                "predicate": {"serialization": serialization, "resources": resources},
            }
        )


def parse_statement(payload: bytes, name: str) -> ModelStatement:
    """Read a statement.

    Parameters
    ----------
    payload : bytes
    name : str
        Of the signature's file, for sentences.

    Raises
    ------
    SubjectError
        Where it is none, is in a form that is not supported, or contradicts itself.
    """
    try:
        raw = json.loads(payload)
        kind = raw["predicateType"]
        if raw["_type"] != STATEMENT or kind not in (PREDICATE, EARLY):
            raise SubjectError(
                f"{name} signs a statement of another kind ({printable(str(kind))[:80]}), not a "
                "model's files"
            )
        return _early(raw) if kind == EARLY else _current(raw)
    except SubjectError:
        raise
    except _Damaged as error:
        raise SubjectError(f"{name} holds a damaged list of files: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SubjectError(
            f"{name} holds a damaged list of files: a field is missing or of another type"
        ) from error


class _Damaged(Exception):
    """What is wrong with a list of files."""


def _current(raw: dict[str, Any]) -> ModelStatement:
    (subject,) = raw["subject"]
    how = raw["predicate"]["serialization"]
    algorithm, method = how["hash_type"], how["method"]
    if algorithm not in _LENGTHS:
        raise SubjectError(
            f"the signature uses the digest {printable(str(algorithm))[:40]}, which is not "
            "supported here; ask for one with sha256"
        )
    if method not in ("files", "shards"):
        raise _Damaged(f"{printable(str(method))[:40]} is no way to list files that is known")
    total = hashlib.sha256()
    listed: list[tuple[str, Piece]] = []
    for resource in raw["predicate"]["resources"]:
        digest = _digest(resource["digest"], algorithm)
        if resource["algorithm"].partition("-")[0] != algorithm:
            raise _Damaged("a digest is of another kind than the rest")
        total.update(digest)
        listed.append(_piece(resource["name"], digest, method == "shards"))
    if total.hexdigest() != subject["digest"]["sha256"]:
        raise _Damaged("the digests do not add up to that of the whole")
    ignored = how.get("ignore_paths")
    return ModelStatement(
        model=str(subject["name"]),
        files=_grouped(listed),
        algorithm=algorithm,
        ignored=None if ignored is None else tuple(str(rule) for rule in ignored),
        symlinks=how["allow_symlinks"] is True,
    )


def _early(raw: dict[str, Any]) -> ModelStatement:
    listed = [(s["name"], Piece(_digest(s["digest"]["sha256"], "sha256"))) for s in raw["subject"]]
    return ModelStatement("", _grouped(listed))


def _digest(text: str, algorithm: str) -> bytes:
    digest = bytes.fromhex(text)
    if len(digest) != _LENGTHS[algorithm]:
        raise _Damaged(f"a digest is too long or too short for {algorithm}")
    return digest


def _piece(name: str, digest: bytes, shard: bool) -> tuple[str, Piece]:
    if not shard:
        return name, Piece(digest)
    file, start, end = name.rsplit(":", 2)
    return file, Piece(digest, int(start), int(end))


def _grouped(listed: list[tuple[str, Piece]]) -> dict[str, tuple[Piece, ...]]:
    """Pieces by file, in their order; each file must be covered once, from its first byte on."""
    files: dict[str, list[Piece]] = {}
    for name, piece in listed:
        files.setdefault(_safe(name), []).append(piece)
    if not files:
        raise _Damaged("it lists no file")
    for name, pieces in files.items():
        pieces.sort(key=lambda piece: piece.start)
        if any(_gaps(pieces)):
            raise _Damaged(f"it lists {printable(name)} twice, or not all of it")
    return {name: tuple(pieces) for name, pieces in files.items()}


def _gaps(pieces: list[Piece]) -> Iterator[bool]:
    at: int | None = 0
    for piece in pieces:
        yield piece.start != at or (piece.end is not None and piece.end <= piece.start)
        at = piece.end


def _safe(name: str) -> str:
    """A name that stays within the folder, in its one form."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or str(path) != name or "\0" in name:
        raise _Damaged(f"{printable(name)[:80]!r} is no path within the model")
    return name
