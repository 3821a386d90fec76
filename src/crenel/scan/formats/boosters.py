"""Native files of boosting libraries: XGBoost (JSON, UBJSON), LightGBM (text) and CatBoost."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from crenel.scan.context import Context
from crenel.scan.formats.flatbuffer import root_of
from crenel.scan.source import Unreadable, Window
from crenel.scan.verdict import Verdict

MAX_DEPTH = 100
SIZES = {b"i": 1, b"U": 1, b"I": 2, b"l": 4, b"L": 8, b"d": 4, b"D": 8, b"C": 1}
INTEGERS = {b"i": ">b", b"U": ">B", b"I": ">h", b"l": ">i", b"L": ">q"}
PLAIN = {b"Z", b"T", b"F", b"N"}
LIGHTGBM_LINE = re.compile(
    rb"tree|Tree=\d+|end of trees|feature_importances:|parameters:|end of parameters|"
    rb"[A-Za-z_]\w*[=:].*|\[[\w .-]+:.*\]|[^\s=]+=\d+|"
)


class _Reader:
    """Walks a UBJSON value without building it; remembers the keys of the outermost object."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.pos = 0
        self.keys: list[bytes] = []

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        data = self.window.read(self.pos, count)
        if count < 0 or len(data) < count:
            raise Unreadable("The UBJSON data is cut short.", offset=self.pos)
        self.pos += count
        return data

    def skip(self, count: int) -> None:
        """Pass over bytes."""
        if count < 0 or self.pos + count > len(self.window):
            raise Unreadable("The UBJSON data is cut short.", offset=self.pos)
        self.pos += count

    def integer(self) -> int:
        """Read a typed integer."""
        kind = self.take(1)
        if kind not in INTEGERS:
            raise Unreadable("The UBJSON data is damaged.", offset=self.pos)
        value: int = struct.unpack(INTEGERS[kind], self.take(SIZES[kind]))[0]
        return value

    def value(self, depth: int = 0, kind: bytes = b"") -> None:
        """Pass over one value, of a given type where the container says it."""
        kind = kind or self.take(1)
        if depth > MAX_DEPTH:
            raise Unreadable("The UBJSON data is nested too deep.", "over-budget")
        if kind in SIZES:
            self.skip(SIZES[kind])
        elif kind in (b"S", b"H"):
            self.skip(self.integer())
        elif kind in (b"[", b"{"):
            self.container(kind, depth)
        elif kind not in PLAIN:
            raise Unreadable("The UBJSON data is damaged.", offset=self.pos)

    def container(self, kind: bytes, depth: int) -> None:
        """Pass over an array or an object, with or without a type and a count."""
        item, count = b"", -1
        if self.window.read(self.pos, 1) == b"$":
            self.pos += 1
            item = self.take(1)
        if self.window.read(self.pos, 1) == b"#":
            self.pos += 1
            count = self.integer()
        if (item in SIZES or item in PLAIN) and kind == b"[" and count >= 0:
            self.skip(SIZES.get(item, 0) * count)  # the plain ones take no byte, however many
            return
        for _ in self.items(kind, count):
            if kind == b"{":
                key = self.take(self.integer())
                if depth == 0:
                    self.keys.append(key)
            self.value(depth + 1, item)

    def items(self, kind: bytes, count: int) -> Iterator[None]:
        """Yield once per item of a container."""
        close = b"]" if kind == b"[" else b"}"
        left = count
        while left != 0:
            if count < 0 and self.window.read(self.pos, 1) == close:
                self.pos += 1
                return
            yield None
            left -= 1


def scan_ubjson(window: Window, context: Context) -> str:
    """Scan XGBoost's UBJSON: the whole structure is walked and holds nothing but values."""
    reader = _Reader(window)
    reader.value()
    if reader.pos != len(window):
        raise Unreadable("Bytes follow the UBJSON data.", "trailing-data", reader.pos)
    if not {b"learner", b"version"} <= set(reader.keys):
        raise Unreadable("The UBJSON data is not a model of a known library.", "unknown-format")
    return "xgboost-ubjson"


def scan_lightgbm(window: Window, context: Context) -> str:
    """Scan LightGBM's text: every line must be one that the format has."""
    pos = 0
    while pos < len(window):
        end = window.find(b"\n", pos)
        end = len(window) if end < 0 else end
        line = window.read(pos, min(end - pos, 200)).strip()
        if not LIGHTGBM_LINE.fullmatch(line):
            raise Unreadable("A line is not one of LightGBM's format.", "damaged", pos)
        pos = end + 1
    return "lightgbm-text"


def scan_old_xgboost(window: Window, context: Context) -> str:
    """XGBoost's old binary format has no reader here, nor in XGBoost since 3.1."""
    sentence = (
        "This is XGBoost's old binary format, which is not read; "
        "load it with XGBoost below 3.1 and save it as .ubj or .json."
    )
    raise Unreadable(sentence, "no-reader")


#: Parts that may follow the core of a CatBoost model: statistics of categories, dictionaries and
#: calculators of texts and embeddings. All are data.
CATBOOST_PARTS = re.compile(
    r"static_provider_v1|text_process(?:ing)?_v\d|feature_calcer_v\d|embedding_process(?:ing)?_v\d"
)


def scan_catboost(window: Window, context: Context) -> str:
    """Scan a CatBoost model (``.cbm``): a flatbuffer, and the parts that it names."""
    size = int.from_bytes(window.read(4, 4), "little")
    if 8 + size > len(window):
        raise Unreadable("The CatBoost model is cut short.")
    core = root_of(window.window(8, size))
    version = core.text(0)
    if version != "FlabuffersModel_v1":
        raise Unreadable(f"CatBoost models of version {version[:40]!r} are not read.", "no-reader")
    parts = list(core.texts(3))
    for part in parts:
        if not CATBOOST_PARTS.fullmatch(part):
            sentence = f"The CatBoost model has a part of unknown kind, {part[:60]!r}."
            context.add("unknown-part", sentence, Verdict.REVIEW, 8 + size)
    rest = len(window) - 8 - size
    if rest and not parts:
        sentence = f"{rest} bytes after the CatBoost model belong to nothing known."
        context.add("trailing-data", sentence, Verdict.REVIEW, 8 + size)
    return "catboost"
