"""Whether a model is the one that its bill of materials describes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from crenel.errors import SubjectError, UsageError
from crenel.provenance.model_files import digest_of, printable
from crenel.provenance.outcome import Test
from crenel.transfer.bom.reading import Bom, bom_beside, read_bom

_SHOWN = 5


def altered(bom: Bom) -> tuple[str, ...]:
    """Sentences on the files beside a bill of materials whose digests are not those that it lists.

    Files that are not there are passed over: a copy need not be whole. Names that lead out of the
    folder are never followed.
    """
    faults = []
    for name, digest in bom.digests.items():
        place = within(bom.path.parent, name)
        if place is None or not place.is_file():
            continue
        try:
            own = digest_of(place, "sha256").hex()
        except SubjectError as error:
            faults.append(str(error))
            continue
        if own != digest:
            faults.append(f"{name} is not the file that {bom.path.name} lists: its SHA-256 differs")
    return tuple(faults)


def within(folder: Path, name: str) -> Path | None:
    """The place of a name in a folder; None where it leads out of it."""
    parts = PurePosixPath(name)
    if not name or "\0" in name or parts.is_absolute() or ".." in parts.parts or "\\" in name:
        return None
    place = folder / parts
    return place if folder.resolve() in place.resolve().parents else None


def verify_bom(model: Path, bom: Path | None = None, card: Path | None = None) -> list[Test]:
    """Hold a model against its bill of materials, and that against the card and configuration.

    Parameters
    ----------
    model : Path
        A file or a folder; it is read, and run only where it is an estimator whose scan is clean.
    bom : Path or None
        The bill of materials; else bom.json or one that ends in .cdx.json beside the files.
    card : Path or None
        The model card; in a folder README.md or model_card.md is found.

    Returns
    -------
    list of Test
        Files that differ, files that are missing, files that are not listed, then licence, task,
        base and labels, where two sources speak of them.

    Raises
    ------
    UsageError
        Where there is no model or no bill of materials.
    SubjectError
        Where the latter cannot be read or describes no model.
    """
    from crenel.transfer.bom.described import describe_model
    from crenel.transfer.papers.checklist import licence_text, review
    from crenel.transfer.papers.items import Facts, State

    known = describe_model(model, card=card)
    folder = model if model.is_dir() else model.parent
    read = _found(model, bom, known.files)
    filed = licence_text([folder]) if model.is_dir() else ""
    facts = Facts(digests=known.files, artefact=known.artefact, bom=read, licence_text=filed)
    told = {"licence", "task", "base of the base", "labels"}
    items = [
        i for i in review(known.card, facts) if i.name in told and i.state is not State.MISSING
    ]
    return [
        *_files(read, known.files),
        *(Test(i.name, i.state is State.PRESENT, i.detail) for i in items),
    ]


def _found(model: Path, bom: Path | None, files: dict[str, str]) -> Bom:
    if bom is not None:
        return read_bom(bom, files.values())
    folder = model if model.is_dir() else model.parent
    read, fault = bom_beside([folder], files.values())
    if fault:
        raise SubjectError(fault)
    if read is None:
        raise UsageError(
            f"there is no bill of materials of a model beside {model}; name it with --bom, or "
            f"write one: crenel provenance bom {model} -o bom.json"
        )
    return read


def _files(bom: Bom, files: dict[str, str]) -> list[Test]:
    """Three tests of the digests; one that could not be made where none are listed."""
    listed = bom.digests
    if not listed:
        return [Test("files", None, f"{bom.path.name} lists no SHA-256 of a file")]
    if list(files.values()) == list(listed.values()):  # one file may have been given another name
        return [Test("files", True, f"{_count(len(files), 'file')} as listed")]
    faults = {
        "changed": [n for n, d in files.items() if n in listed and listed[n] != d],
        "missing": [n for n, d in listed.items() if n not in files and d not in files.values()],
        "not listed": [n for n, d in files.items() if n not in listed and d not in listed.values()],
    }
    return [
        Test(what, not names, f"{_count(len(names), 'file')} {what}{_shown(names)}", {what: names})
        for what, names in faults.items()
    ]


def _count(n: int, word: str) -> str:
    return f"{n or 'no'} {word}{'' if n == 1 else 's'}"


def _shown(names: Sequence[str]) -> str:
    first = ", ".join(printable(n) for n in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f": {first}{more}" if names else ""
