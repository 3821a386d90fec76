"""R data (.rds, .rda): what R would evaluate of a serialised object, read without R.

The layout is that of R's serialize.c (versions 2 and 3, XDR). A promise is evaluated as soon as
the object is used (CVE-2024-27322), an active binding as soon as it is looked at; closures and
calls are evaluated by what works with the model.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from crenel.scan.context import Context
from crenel.scan.source import Unreadable, Window
from crenel.scan.verdict import Verdict

MAX_ITEMS = 5_000_000
MAX_DEPTH = 300
SYM, LIST, CLO, ENV, PROM, LANG, SPECIAL, BUILTIN, CHAR = range(1, 10)
LGL, INT, REAL, CPLX, STR, DOT, VEC, EXPR, BCODE = 10, 13, 14, 15, 16, 17, 19, 20, 21
POINTER, WEAK, RAW, S4 = 22, 23, 24, 25
ALTREP, ATTRLIST, ATTRLANG, BASEENV, EMPTYENV, BCREF, BCDEF = 238, 239, 240, 241, 242, 243, 244
PERSIST, PACKAGE, NAMESPACE, REF = 247, 248, 249, 255
# Types without a body: the base namespace, missing argument, unbound, global environment, NULL.
ALONE = {BASEENV, EMPTYENV, 250, 251, 252, 253, 254, 0}
PAIRS = {LIST, CLO, PROM, LANG, DOT}
SIZES = {LGL: 4, INT: 4, REAL: 8, CPLX: 16, RAW: 1}
HARMFUL = {
    "system", "system2", "shell", "shell.exec", "eval", "evalq", "source", "sys.source", "parse",
    "do.call", "dyn.load", "library.dynam", "download.file", "url", "socketConnection", "file",
    "pipe", "unlink", "file.remove", "writeLines", "readRDS", "load", "Sys.setenv", "loadNamespace",
    "install.packages", ".Call", ".External", ".C", "assignInNamespace", "unz", "gzfile", "fifo",
}  # fmt: skip
PLAIN_SPACES = {"base", "stats", "utils", "methods", "graphics", "grDevices", "datasets", "splines",
                "Matrix", "lattice", "survival", "MASS", "nlme"}  # fmt: skip


@dataclass
class _Reader:
    """Walks a serialised object; nothing is kept but the names of symbols."""

    window: Window
    context: Context
    pos: int
    left: int = MAX_ITEMS
    symbols: list[str] = field(default_factory=list)

    def integer(self) -> int:
        """Read a number of 32 bits."""
        raw = self.window.read(self.pos, 4)
        if len(raw) < 4:
            raise Unreadable("The R data is cut short.", offset=self.pos)
        self.pos += 4
        return int.from_bytes(raw, "big", signed=True)

    def length(self) -> int:
        """Read the length of a vector."""
        count = self.integer()
        if count == -1:
            count = (self.integer() << 32) + self.integer()
        if count < 0 or count > len(self.window):
            raise Unreadable("A length in the R data does not fit the file.", offset=self.pos)
        return count

    def skip(self, count: int) -> None:
        """Pass over bytes."""
        if count > len(self.window) - self.pos:
            raise Unreadable("The R data is cut short.", offset=self.pos)
        self.pos += count

    def chars(self) -> str:
        """Read a CHARSXP behind its flags."""
        count = self.integer()
        raw = self.window.read(self.pos, max(count, 0))
        self.skip(max(count, 0))
        return raw[:200].decode("utf-8", "replace")

    def add(self, code: str, sentence: str, verdict: Verdict, at: int, call: str = "") -> None:
        self.context.add(code, sentence, verdict, at, call or None)

    def item(self, depth: int = 0) -> str:
        """Read an object; return the name where it is a symbol."""
        while True:  # along the tail of a pairlist
            self.left -= 1
            if depth > MAX_DEPTH or self.left < 0:
                raise Unreadable("The R data is nested too deep to read.", "over-budget", self.pos)
            at = self.pos
            flags = self.integer()
            kind = flags & 255
            if kind in PAIRS or kind in (ATTRLIST, ATTRLANG):
                self.pairs(kind, flags, at, depth)
                continue
            return self.other(kind, flags, at, depth)

    def pairs(self, kind: int, flags: int, at: int, depth: int) -> None:
        """Read all of a cell but its tail."""
        attributes = flags & 512 or kind in (ATTRLIST, ATTRLANG)
        if attributes:
            self.item(depth + 1)
        if flags & 1024:
            self.item(depth + 1)
        if flags & 0x8000000 and kind == LIST:
            self.active(at)
        if kind == PROM:
            sentence = "The R data holds a promise: R evaluates its code as soon as it is used"
            self.add("promise", sentence + " (CVE-2024-27322).", Verdict.DANGEROUS, at)
        elif kind == CLO:
            sentence = "The R data holds a function; what works with the model may call it."
            self.add("closure", sentence, Verdict.REVIEW, at)
        name = self.item(depth + 1)
        if kind in (LANG, ATTRLANG) and name in HARMFUL:
            sentence = f"The R data holds a call of {name}, which reaches beyond the model."
            self.add("harmful-call", sentence, Verdict.DANGEROUS, at, name)

    def active(self, at: int) -> None:
        sentence = "The R data holds an active binding: R calls its function when it is looked at."
        self.add("active-binding", sentence, Verdict.DANGEROUS, at)

    def other(self, kind: int, flags: int, at: int, depth: int) -> str:
        """Read an object that has no tail."""
        if kind in ALONE:
            return ""
        if kind == REF:
            index = flags >> 8 or self.integer()
            return self.symbols[index - 1] if 0 < index <= len(self.symbols) else ""
        if kind == SYM:
            self.integer()
            self.symbols.append(self.chars())
            return self.symbols[-1]
        if kind in (SPECIAL, BUILTIN, CHAR):
            name = self.chars()
            if flags & 512 and kind == CHAR:
                self.item(depth + 1)
            return name if kind != CHAR else ""
        if kind == ENV:
            self.symbols.append("")
            self.integer()
            for _ in range(4):
                self.item(depth + 1)
            return ""
        if kind in (NAMESPACE, PACKAGE, PERSIST):
            self.space(kind, at)
            return ""
        self.vector(kind, flags, at, depth)
        if flags & 512:
            self.item(depth + 1)
        return ""

    def space(self, kind: int, at: int) -> None:
        """Read a namespace, a package or a persistent name, which R looks up while it loads."""
        self.integer()
        names = []
        for _ in range(self.length()):
            self.integer()
            names.append(self.chars())
        self.symbols.append("")
        name = names[0] if names else ""
        if kind == PERSIST or name.removeprefix("package:") not in PLAIN_SPACES:
            sentence = f"R loads the package {name} while it reads the data."
            self.add("package", sentence, Verdict.REVIEW, at, name)

    def vector(self, kind: int, flags: int, at: int, depth: int) -> None:
        """Read a vector, byte code, a pointer or an object that stands for a vector."""
        if kind in SIZES:
            self.skip(self.length() * SIZES[kind])
        elif kind == STR:
            for _ in range(self.length()):
                self.guard(depth)
                self.integer()
                self.skip(max(self.integer(), 0))
        elif kind in (VEC, EXPR):
            for _ in range(self.length()):
                self.item(depth + 1)
        elif kind == BCODE:
            self.integer()
            self.byte_code(depth + 1)
        elif kind in (POINTER, WEAK):
            self.symbols.append("")
            for _ in range(2 if kind == POINTER else 0):
                self.item(depth + 1)
        elif kind == ALTREP:
            for _ in range(3):
                self.item(depth + 1)
        elif kind != S4:
            raise Unreadable(f"The R data has an object of the unknown type {kind}.", offset=at)

    def byte_code(self, depth: int) -> None:
        """Read compiled code: its instructions, and the constants that name what they call."""
        self.item(depth + 1)
        for _ in range(self.length()):
            kind = self.integer()
            if kind == BCODE:
                self.guard(depth)
                self.byte_code(depth + 1)
            elif kind in (LANG, LIST, BCREF, BCDEF, ATTRLANG, ATTRLIST):
                self.byte_call(kind, depth + 1)
            else:
                self.item(depth + 1)

    def guard(self, depth: int) -> None:
        self.left -= 1
        if depth > MAX_DEPTH or self.left < 0:
            raise Unreadable("The R data is nested too deep to read.", "over-budget", self.pos)

    def byte_call(self, kind: int, depth: int) -> None:
        """Read a call among the constants."""
        while True:
            self.guard(depth)
            at = self.pos
            if kind == BCREF:
                self.integer()
                return
            if kind not in (LANG, LIST, BCDEF, ATTRLANG, ATTRLIST):
                self.item(depth + 1)
                return
            if kind == BCDEF:
                self.integer()
                kind = self.integer()
            if kind in (ATTRLANG, ATTRLIST):
                self.item(depth + 1)
            self.item(depth + 1)
            head = self.integer()
            name = ""
            if head in (LANG, LIST, BCREF, BCDEF, ATTRLANG, ATTRLIST):
                self.byte_call(head, depth + 1)
            else:
                name = self.item(depth + 1)
            if kind in (LANG, ATTRLANG) and name in HARMFUL:
                sentence = f"The R data holds a compiled call of {name}."
                self.add("harmful-call", sentence, Verdict.DANGEROUS, at, name)
            kind = self.integer()


def scan_rdata(window: Window, context: Context) -> str:
    """Scan an R data file behind its compression."""
    pos = 5 if window.read(0, 3) == b"RDX" else 0
    if window.read(pos, 2) != b"X\n":
        raise Unreadable("R data in ASCII or native form is not read: save it as XDR.", "no-reader")
    reader = _Reader(window, context, pos + 2)
    version = reader.integer()
    reader.skip(8)
    if version == 3:
        reader.skip(reader.length())
    elif version != 2:
        raise Unreadable(f"R data of version {version} is not read.", "no-reader", pos + 2)
    reader.item()
    if reader.pos < len(window):
        sentence = f"{len(window) - reader.pos} bytes after the R data belong to nothing known."
        context.add("trailing-data", sentence, Verdict.REVIEW, reader.pos)
    return "r-data"
