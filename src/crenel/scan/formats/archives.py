"""Zip archives: torch, TorchScript, torch.export, Keras, skops, npz and plain ones; and tar."""

from __future__ import annotations

import io
import re
import tarfile
from dataclasses import dataclass, field, replace

from crenel.scan.context import Context
from crenel.scan.formats import keras, skops, torchscript
from crenel.scan.formats.pickles import probe, scan_streams
from crenel.scan.formats.texts import is_text
from crenel.scan.formats.zipfiles import Entry, contents, entries, leaves_folder
from crenel.scan.holds import MOST
from crenel.scan.source import Unreadable, Window, WindowFile
from crenel.scan.verdict import Report, Verdict

RAW = re.compile(r"(?:^|/)(?:data|constants|tensors|weights|storages)/(?:\w+_)?\d+$")
#: Beginnings of programs and scripts; arrays begin so by a chance of one in four thousand million.
PROGRAMS = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"#!/bin/", b"#!/usr/bin/")
#: What is said of bytes that are a pickle by chance.
CHANCE = {"trailing-data", "damaged", "odd", "over-budget"}
MAX_PATH = 4096
MAX_PARTS = 100


@dataclass
class Archive:
    """What is known about an archive while its members are read."""

    flavour: str
    referenced: set[str] = field(default_factory=set)


def flavour(names: list[str]) -> str:
    """Tell what kind of archive has these member names."""
    base = {name.rpartition("/")[2] for name in names}
    if "data.pkl" in base and any("/code/" in f"/{name}" for name in names):
        return "torchscript"
    if "data.pkl" in base:
        return "torch-zip"
    if base & {"archive_format", "serialized_exported_program.json"}:
        return "torch-export"
    if "config.json" in names and any(name.endswith(".weights.h5") for name in names):
        return "keras"
    if "schema.json" in names:
        return "skops"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    return "zip"


def scan_zip(window: Window, context: Context) -> str:
    """Scan every member of a zip archive, as each reader would find it."""
    found = entries(window, context)
    kind = flavour([entry.name for entry in found])
    archive = Archive(kind)
    members = {entry.name for entry in found}
    # Pickles first: the storages that they refer to are raw arrays, which nobody unpickles.
    for entry in sorted(found, key=lambda e: not e.name.endswith(".pkl")):
        if entry.name.endswith("/") and not (entry.packed or entry.size):
            continue
        inner = context.inside(entry.name, members)
        try:
            for part in contents(window, entry, inner):
                _member(part, entry, archive, inner)
        except Exception as error:  # noqa: BLE001 - the other members are read nevertheless
            inner.failed(error)
    return kind


def _member(part: Window, entry: Entry, archive: Archive, context: Context) -> None:
    torch = archive.flavour.startswith("torch")
    if entry.link and leaves_folder(part.read(0, MAX_PATH).decode("utf-8", "replace")):
        sentence = f"{entry.name} is a link that leads outside the folder."
        context.add("path-traversal", sentence, Verdict.DANGEROUS, entry.header)
    if torch and (entry.name in archive.referenced or RAW.search(entry.name)):
        _raw(part, context)
    elif torch and entry.name.endswith(".pkl"):
        _, references = scan_streams(part, context, archive.flavour == "torchscript")
        folder = entry.name[: -len(".pkl")]
        for reference in references:
            # no storage has a suffix; code, programs and libraries do
            if isinstance(reference, tuple) and len(reference) > 2 and "." not in f"{reference[2]}":
                archive.referenced.add(f"{folder}/{reference[2]}")
    elif archive.flavour == "keras" and entry.name == "config.json":
        keras.scan_config(part, context)
    elif entry.name == "schema.json":  # skops reads it whatever else is in the archive
        skops.scan_schema(part, context)
    elif torch and entry.name.rpartition("/")[2] in ("serialization_id", ".storage_alignment"):
        _raw(part, context)
    elif archive.flavour == "torchscript" and entry.name.endswith(".py") and is_text(part):
        torchscript.scan_code(part, context)
    elif torch and entry.name.endswith(".json"):
        torchscript.scan_program(part, context)
        if archive.flavour != "torch-export":
            _dispatched(part, context)
    else:
        _dispatched(part, context)


def _dispatched(part: Window, context: Context) -> None:
    """Read a member as what it is, and note its format."""
    kind = context.guarded(context.dispatch, part)
    if len(context.report.members) < MOST:
        context.report.members.append((context.member or "", kind))


def _raw(part: Window, context: Context) -> None:
    """A raw array: never searched for pickles, only checked not to be one itself.

    torch.export keeps some tensors as files of torch, or pickles, under the same names and loads
    those. Bytes of an array that happen to be a pickle name nothing, and mean nothing.
    """
    if part.startswith(PROGRAMS):
        sentence = "The bytes of an array are a program, which a loader of another kind may start."
        context.add("program", sentence, Verdict.DANGEROUS, 0)
    is_pickle, report = probe(part, context)
    context.report.merge(report.at_least(Verdict.DANGEROUS))
    if is_pickle or part.startswith(b"PK\x03\x04"):
        own = replace(context, report=Report())
        own.guarded(own.dispatch, part)
        if own.report.modules or {r.code for r in own.report.found.values()} - CHANCE:
            context.report.merge(own.report)


def scan_tar(window: Window, context: Context) -> str:
    """Scan every member of a tar archive; links and paths that leave the folder are reported.

    What lies behind the end mark, or a damaged header, is read by some readers alone, so it is
    reported and read too.
    """
    part: Window | None = window
    for _ in range(MAX_PARTS):
        if part is None:
            return "tar"
        part = _tar_part(part, context)
    raise Unreadable("The tar archive has too many parts to read all.", "over-budget")


def _tar_part(window: Window, context: Context) -> Window | None:
    """Scan the members up to the end mark, and return the next part, from its first header."""
    try:
        with tarfile.open(fileobj=io.BufferedReader(WindowFile(window)), mode="r:") as archive:
            found = list(archive)
    except (tarfile.TarError, ValueError) as error:  # numbers of PAX headers are not tested there
        raise Unreadable(f"The tar archive is damaged: {error}.") from None
    members = {member.name.removeprefix("./") for member in found}
    for member in found:
        _tar_member(window, member, members, context)
    rest = window.window(archive.offset)
    if not any(chunk.strip(b"\0") for chunk in rest.chunks()):
        return None
    sentence = "Data lies behind the end of the tar archive, which some readers read on."
    context.add("trailing-data", sentence, Verdict.REVIEW, rest.start - window.start)
    at = rest.find(b"ustar", 512)
    while at >= 0 and (at - 257) % 512:
        at = rest.find(b"ustar", at + 1)
    return rest.window(at - 257) if at >= 0 else None


def _tar_member(
    window: Window, member: tarfile.TarInfo, members: set[str], context: Context
) -> None:
    inner = context.inside(member.name.removeprefix("./"), members)
    linked = member.issym() or member.islnk()
    if leaves_folder(member.name) or (linked and leaves_folder(member.linkname)):
        sentence = f"Unpacking {member.name} reaches outside the folder."
        inner.add("path-traversal", sentence, Verdict.DANGEROUS, member.offset)
    if member.issparse():
        sentence = f"{member.name} is packed with holes (sparse), which is not read."
        inner.add("no-reader", sentence, Verdict.UNREADABLE, member.offset)
    elif member.isreg():
        part = window.window(member.offset_data, member.size)
        _dispatched(part, inner)
    elif not (member.isdir() or linked):
        sentence = f"{member.name} is a device or another special file."
        inner.add("special-file", sentence, Verdict.DANGEROUS, member.offset)
