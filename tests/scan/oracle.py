"""CPython's own unpicklers with nothing real to call: they tell which names a stream resolves."""

from __future__ import annotations

import contextlib
import io
import pickle
import struct

MAX_ALLOCATION = 1 << 20


class Inert:
    """Stands for anything: takes any call, any state and any item, and does nothing."""

    def __new__(cls, *args, **kwargs):
        return object.__new__(cls)

    def __init__(self, *args, **kwargs):
        pass

    def __call__(self, *args, **kwargs):
        return Inert()

    def __setstate__(self, state):
        pass

    def __setitem__(self, key, value):
        pass

    append = extend = update = add = __init__


def _names(self, module, name):
    self.names.append((module, name))
    return {("builtins", "str"): str, ("_codecs", "encode"): _encode}.get((module, name), Inert)


def _encode(*args):
    return str(args[0]).encode("latin1") if args else Inert()


class PythonOracle(pickle._Unpickler):
    find_class = _names

    def __init__(self, file):
        super().__init__(file)
        self.names = []

    def get_extension(self, code):
        self.names.append(("extension", str(code)))
        self.append(Inert)

    def persistent_load(self, reference):
        return Inert()


class NativeOracle(pickle.Unpickler):
    find_class = _names

    def __init__(self, file):
        super().__init__(file)
        self.names = []

    def persistent_load(self, reference):
        return Inert()


def resolved(data: bytes, native: bool) -> list[tuple[str, str]]:
    """Names that one unpickler resolves before it ends or fails."""
    oracle = (NativeOracle if native else PythonOracle)(io.BytesIO(data))
    with contextlib.suppress(Exception):
        oracle.load()
    return oracle.names


def affordable(data: bytes, native: bool) -> bool:
    """Whether no length or memo index in the data makes the oracle allocate without bound."""
    for code, fmt in ((b"\x96", "<Q"), (b"r", "<I") if native else (b"\x96", "<Q")):
        at = data.find(code)
        while at >= 0:
            field = data[at + 1 : at + 1 + struct.calcsize(fmt)]
            full = len(field) == struct.calcsize(fmt)
            if full and struct.unpack(fmt, field)[0] > MAX_ALLOCATION:
                return False
            at = data.find(code, at + 1)
    return not (native and b"p" in data)  # PUT's index is text
