"""What other formats say of data, checked against the data: Croissant, DVC, MLflow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from crenel.errors import SubjectError
from crenel.provenance.dvc import read_dvc
from crenel.provenance.manifest import Imported
from crenel.provenance.reading import file_digest

Format = Literal["croissant", "dvc", "mlflow"]

#: What is taken over of a Croissant description (schema.org and its own names).
_CROISSANT = (
    "name", "version", "license", "url", "description", "datePublished", "creator", "publisher",
    "citeAs", "conformsTo",
)  # fmt: skip
_MLFLOW = ("name", "digest", "source_type", "source", "schema", "profile")


@dataclass(frozen=True)
class Stated:
    """What a file of another format states.

    Attributes
    ----------
    format : {"croissant", "dvc", "mlflow"}
    fields : dict
    digests : tuple of (names, algorithm, digest)
        Of files, each under the names that it may have here: "sha256", "md5", or "md5-dos2unix" for
        DVC's older digests of text.
    unproven : tuple of str
    """

    format: Format
    fields: dict[str, Any]
    digests: tuple[tuple[frozenset[str], str, str], ...] = ()
    unproven: tuple[str, ...] = ()


def import_file(path: Path, files: Sequence[Path]) -> Imported:
    """Read a description of data, and compare its digests with the files that are recorded.

    Parameters
    ----------
    path : Path
        Croissant (JSON-LD), a ``.dvc`` file, or MLflow's JSON of a data set or a run's inputs.
    files : sequence of Path
        The files that are recorded, matched by their names.

    Raises
    ------
    UsageError
        Where there is no such file.
    SubjectError
        Where it is of none of these formats, or a file has another digest than it states.
    """
    digest = file_digest(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SubjectError(f"{path} is no text") from error
    stated = _dvc(text, path.name) if path.suffix == ".dvc" else _json(text, path)
    agrees: list[str] = []
    for names, algorithm, expected in stated.digests:
        here = next((f for f in files if f.name in names and f.is_file()), None)
        if here is None:
            continue
        if expected not in _digests(here, algorithm):
            raise SubjectError(
                f"{here} is not the file that {path.name} describes: its {algorithm} is another"
            )
        agrees.append(f"{here.name} ({algorithm})")
    return Imported(
        format=stated.format,
        file=path.name,
        sha256=digest,
        fields=stated.fields,
        agrees=tuple(agrees),
        unproven=stated.unproven,
    )


def licence_of(imported: Sequence[Imported]) -> str:
    """The first licence that is stated; "" where none is."""
    stated = (i.fields.get("license") for i in imported)
    return next((text for value in stated if (text := _first_text(value))), "")


def uri_of(imported: Sequence[Imported]) -> str:
    """The first address that is stated; "" where none is."""
    stated = (i.fields.get("url") or i.fields.get("repo") for i in imported)
    return next((text for value in stated if (text := _first_text(value))), "")


def _first_text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return next((text for v in value if (text := _first_text(v))), "")
    if isinstance(value, Mapping):
        return next(
            (text for k in ("@id", "url", "name") if (text := _first_text(value.get(k)))), ""
        )
    return value if isinstance(value, str) else ""


def _mappings(value: Any) -> list[dict[str, Any]]:
    """The mappings in a list, or one that stands for itself."""
    return [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, dict)]


def _names(*stated: Any) -> frozenset[str]:
    """The last parts of paths and addresses."""
    return frozenset(PurePosixPath(n).name for n in stated if isinstance(n, str) and n)


def _digests(path: Path, algorithm: str) -> set[str]:
    if algorithm == "sha256":
        return {file_digest(path)}
    content = path.read_bytes()
    plain = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if algorithm == "md5":
        return {plain}
    unix = content.replace(b"\r\n", b"\n")
    return {plain, hashlib.md5(unix, usedforsecurity=False).hexdigest()}


def _dvc(text: str, name: str) -> Stated:
    content = read_dvc(text, name)
    outs = content.get("outs")
    if not isinstance(outs, list) or not all(
        isinstance(o, dict) and isinstance(o.get("path"), str) and o["path"] for o in outs
    ):
        raise SubjectError(f"{name} is no .dvc file: it lists no outs with a path")
    digests, weak = [], []
    for out in outs:
        if isinstance(out.get("md5"), str) and out["md5"]:
            algorithm = "md5" if out.get("hash") == "md5" else "md5-dos2unix"
            weak.append(f"{out['path']}: MD5 is no evidence against who can choose the content")
            if not out["md5"].endswith(".dir"):
                digests.append((_names(out["path"]), algorithm, out["md5"].lower()))
    fields: dict[str, Any] = {"outs": outs}
    for dep in _mappings(content.get("deps")):
        if isinstance(dep.get("repo"), dict):
            fields |= {"repo": dep["repo"].get("url", ""), "rev": dep["repo"].get("rev_lock", "")}
        elif dep.get("path"):
            fields.setdefault("url", dep["path"])
    fields |= {k: content[k] for k in ("desc", "meta", "frozen") if content.get(k)}
    return Stated("dvc", fields, tuple(digests), tuple(weak))


def _json(text: str, path: Path) -> Stated:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _unknown(path) from error
    if isinstance(content, dict):
        plain = _without_prefixes(content)
        if plain.get("@type") == "Dataset" and "distribution" in plain:
            return _croissant(plain, path)
    found = list(_mlflow_datasets(content))
    if found:
        return _mlflow(found)
    raise _unknown(path)


def _unknown(path: Path) -> SubjectError:
    return SubjectError(
        f"{path} is of no format that is read here; give Croissant, a .dvc file, or MLflow's JSON "
        "of a data set"
    )


def _without_prefixes(value: Any) -> Any:
    """JSON-LD whose names and types are without ``sc:`` and ``cr:``."""
    if isinstance(value, list):
        return [_without_prefixes(v) for v in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for key, item in value.items():
        short = key.rpartition(":")[2] if key.partition(":")[0] in ("sc", "cr", "schema") else key
        if key == "@context":
            continue
        if key == "@type" and isinstance(item, str):
            out[key] = item.rpartition(":")[2].rpartition("/")[2]
        else:
            out[short] = _without_prefixes(item)
    return out


def _croissant(content: dict[str, Any], path: Path) -> Stated:
    objects = _mappings(content["distribution"])
    digests = [
        (_names(*(item.get(k) for k in ("name", "@id", "contentUrl"))), kind, item[kind].lower())
        for item in objects
        for kind in ("sha256", "md5")
        if isinstance(item.get(kind), str)
    ]
    if not objects:
        raise SubjectError(f"{path}: the Croissant description lists no files")
    fields = {k: content[k] for k in _CROISSANT if content.get(k)}
    fields["fields"] = [
        str(field.get("name") or field.get("@id"))
        for record in _mappings(content.get("recordSet"))
        for field in _mappings(record.get("field"))
    ]
    weak = tuple(
        f"{', '.join(sorted(names))}: MD5 is no evidence against who can choose the content"
        for names, kind, _ in digests
        if kind == "md5"
    )
    return Stated("croissant", fields, tuple(digests), weak)


def _mlflow_datasets(content: Any) -> Any:
    """Data sets in MLflow's JSON: one, a list, a run with its inputs."""
    if isinstance(content, list):
        for item in content:
            yield from _mlflow_datasets(item)
    elif isinstance(content, dict):
        if {"name", "digest", "source_type"} <= content.keys():
            yield content
        else:
            for key in ("dataset", "dataset_inputs", "datasetInputs", "inputs", "run"):
                yield from _mlflow_datasets(content.get(key))


def _mlflow(found: list[dict[str, Any]]) -> Stated:
    sets = [{k: d[k] for k in _MLFLOW if d.get(k)} for d in found]
    weak = tuple(
        f"{d['name']}: MLflow's digest {d['digest']} covers a part of the rows and is no evidence"
        for d in found
    )
    return Stated("mlflow", {"datasets": sets}, (), weak)
