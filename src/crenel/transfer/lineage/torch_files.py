"""Weights in torch files: zip archives (state dicts, TorchScript) and the format before them."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import SubjectError
from crenel.transfer.lineage.inert import Placed, Storage, take_apart, tensors_in
from crenel.transfer.lineage.weights import NUMPY, Array

#: From a storage to its bytes' place: (buffer, offset).
Find = Callable[[Storage], tuple[Any, int]]


def arrays_in_zip(mapped: Any, where: str) -> list[Array]:
    """Arrays of a zip archive, each read in place where it is stored uncompressed."""
    try:
        archive = zipfile.ZipFile(_File(mapped))
        members = {m.filename: m for m in archive.infolist()}
        pickle = next(n for n in members if n.rpartition("/")[2] == "data.pkl")
        found, _ = take_apart(archive.read(pickle), where)
    except (zipfile.BadZipFile, StopIteration, NotImplementedError, RuntimeError) as error:
        raise SubjectError(f"{where} is no archive of weights: {error}") from error
    folder = pickle.removesuffix("data.pkl")

    def find(storage: Storage) -> tuple[Any, int]:
        member = members.get(f"{folder}data/{storage.key}") or members.get(folder + storage.key)
        if member is None:
            raise SubjectError(f"{where} lacks the numbers of storage {storage.key[:40]}")
        if member.compress_type != zipfile.ZIP_STORED:
            return archive.read(member), 0
        start = member.header_offset
        name, extra = struct.unpack("<HH", mapped[start + 26 : start + 30])
        return mapped, start + 30 + name + extra

    return _arrays(found, find, where)


class _File(io.RawIOBase):
    """A map of a file, read like a file: zipfile must not copy it."""

    def __init__(self, mapped: Any) -> None:
        self.mapped, self.at = mapped, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        start = (0, self.at, len(self.mapped))[whence]
        self.at = max(0, start + offset)
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, room: Any) -> int:
        part = self.mapped[self.at : self.at + len(room)]
        room[: len(part)] = part
        self.at += len(part)
        return len(part)


def arrays_in_legacy(mapped: Any, where: str) -> list[Array]:
    """Arrays of a file from before torch 1.6: pickles, then every storage behind its length."""
    stream = io.BufferedReader(_File(mapped))
    for _ in range(3):  # magic number, protocol, sizes of the writer's machine
        take_apart(stream, where)
    found, storages = take_apart(stream, where)
    keys, _ = take_apart(stream, where)
    places: dict[str, int] = {}
    at = stream.tell()
    for key in map(str, keys):
        storage = storages.get(key)
        if storage is None or storage.dtype not in NUMPY:
            break  # where the next one begins is not known
        places[key] = at + 8
        (count,) = struct.unpack("<q", mapped[at : at + 8])
        at += 8 + count * np.dtype(NUMPY[storage.dtype]).itemsize

    def find(storage: Storage) -> tuple[Any, int]:
        if storage.key not in places:
            raise SubjectError(f"{where} lacks the numbers of storage {storage.key[:40]}")
        return mapped, places[storage.key]

    return _arrays(found, find, where)


def _arrays(found: Any, find: Find, where: str) -> list[Array]:
    made = []
    for name, placed in tensors_in(found):
        if placed.storage.dtype in NUMPY:
            load = _loader(placed, find, f"{name[:80]} in {where}")
            made.append(Array(name, placed.shape, placed.storage.dtype, load))
    return made


def _loader(placed: Placed, find: Find, where: str) -> Callable[[], NDArray[Any]]:
    def load() -> NDArray[Any]:
        buffer, start = find(placed.storage)
        kind = np.dtype(NUMPY[placed.storage.dtype])
        room = (len(buffer) - start) // kind.itemsize
        last = placed.offset + sum((n - 1) * s for n, s in zip(placed.shape, placed.strides))
        if 0 in placed.shape:
            return np.zeros(placed.shape, dtype=kind)
        wrong = placed.offset < 0 or min((*placed.strides, 0)) < 0 or min((*placed.shape, 1)) < 0
        if wrong or last >= min(room, placed.storage.length):
            raise SubjectError(f"the tensor {where} reaches beyond its storage")
        flat = np.frombuffer(buffer, dtype=kind, count=last + 1, offset=start)[placed.offset :]
        steps = [s * kind.itemsize for s in placed.strides]
        return np.lib.stride_tricks.as_strided(flat, placed.shape, steps, writeable=False)

    return load
