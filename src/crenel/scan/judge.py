"""Judges the events of a pickle stream against the policy and writes the reasons."""

from __future__ import annotations

import _compat_pickle
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from crenel.scan.dtypes import MANY, lie
from crenel.scan.holds import Kept, keeper, note_state
from crenel.scan.machine import Damage
from crenel.scan.policy import Entry, Policy
from crenel.scan.rules import RULES, listed, makes, read_attribute
from crenel.scan.values import (
    Bulk,
    Global,
    Instance,
    Items,
    Latent,
    Mapping,
    Unknown,
    globals_in,
    latent_in,
    render,
    render_call,
)
from crenel.scan.verdict import Reason, Report, Verdict

WRAPPERS = {
    f"{home}.numpy_pickle{old}.{name}"
    for home in ("joblib", "sklearn.externals.joblib")
    for old in ("", "_compat")
    for name in ("NumpyArrayWrapper", "NDArrayWrapper", "ZNDArrayWrapper")
}
#: Functions that a known writer calls by way of a partial, and the one integer that it holds.
PARTIALS = {"pandas.core.internals.blocks.new_block": "ndim"}
TRACKED = {"numpy.dtype", "functools.partial", *WRAPPERS}
ARRAY = "numpy.ndarray"
MAX_NAMES = 200_000
#: Listed for one use, and harmful in any other, as where an object keeps them to call them later.
LATENT = {"builtins.getattr", "numpy.memmap"}
CALLABLE = {"functools.partial", "builtins.method", "operator.itemgetter", "computed"}
HOSTILE = frozenset({"hostile-name", "hostile-call", "hostile-argument"})
CERTAIN = HOSTILE | {
    "unlisted", "argument-shape", "attribute", "dtype", "computed-name", "computed-call",
    "build-on-name", "dunder-state",
}  # fmt: skip
IMPORTABLE = re.compile(r"[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*")
HARMLESS_DUNDERS = {"__doc__", "__module__", "__name__", "__qualname__", "__orig_class__",
                    "__networkx_cache__"}  # fmt: skip


@dataclass
class StreamJudge:
    """Implements `crenel.scan.machine.Judge`.

    Parameters
    ----------
    policy : Policy
        What is allowed and what is known to be hostile.
    report : Report
        Receives the reasons.
    base : int
        Subtracted from offsets, so that they count from the start of the file or member.
    member : str, optional
        Path inside the archive.
    torchscript : bool
        Names under ``__torch__`` are types of the archive itself, made by torch's own reader.
    nested : callable, optional
        Scans the bytes that ``torch.storage._load_from_bytes`` would load.
    prefix : str
        Put before each sentence, to say by which reader.
    quiet : bool
        The bytes may be no pickle at all: names that could not be imported end the run, and only
        what could really happen is reported.
    certain : frozenset of str
        Codes of what is reported where quiet.
    """

    policy: Policy
    report: Report
    base: int = 0
    member: str | None = None
    torchscript: bool = False
    nested: Callable[[object, int], None] | None = None
    prefix: str = ""
    quiet: bool = False
    certain: frozenset[str] = CERTAIN
    persistent: list[object] = field(default_factory=list)
    seen: set[tuple[str, str]] = field(default_factory=set)
    latent: bool = False
    _names: dict[tuple[str, str], Global] = field(default_factory=dict)
    _made: dict[str, Instance] = field(default_factory=dict)

    def _add(
        self, code: str, sentence: str, verdict: Verdict, offset: int,
        call: str | None = None, key: str | None = None,
    ) -> None:  # fmt: skip
        if self.quiet and code not in self.certain:
            return
        text = self.prefix + sentence
        at = max(offset - self.base, 0)
        self.report.add(Reason(code, text, verdict, at, call, self.member), key)

    def resolve(self, module: object, name: object, protocol: int, offset: int) -> object:
        """Judge the look-up of a name."""
        if not isinstance(module, str) or not isinstance(name, str):
            text = f"{render(module)}.{render(name)}"
            parts = (module, name)
            if self.quiet and not all(isinstance(p, (str, Instance, Unknown)) for p in parts):
                raise Damage("has a name that is no text")
            sentence = "A name is computed while loading, so what is called cannot be told."
            self._add("computed-name", sentence, Verdict.DANGEROUS, offset, text)
            return Instance("computed", True, f"<computed name {text[:80]}>")
        if self.quiet and not IMPORTABLE.fullmatch(module):
            raise Damage("has a name that cannot be imported")
        if protocol < 3:
            module, name = _renamed_since_python2(module, name)
        found = self._names.get((module, name))
        if found is None:
            if len(self._names) >= MAX_NAMES:
                raise Damage("looks up more names than the budget allows")
            latent = f"{module}.{name}" in LATENT
            found = self._names[module, name] = (Latent if latent else Global)(module, name)
            self.latent = self.latent or latent
            self.seen.add((module, name))
            self._judge_name(found, offset)
        return found

    def _judge_name(self, named: Global, offset: int) -> None:
        path = f"{named.module}.{named.name}"
        key = keeper(path)
        if key is not None and not self.quiet:
            self.report.kept.setdefault((self.member or "", key), Kept())
        if self.entry(named) is not None:
            self.report.modules.add(named.module)
            return
        hostile = self.policy.hostile(named.module, named.name)
        if hostile is not None:
            sentence = f"Loading looks up {path}, which {hostile.what}."
            self._add("hostile-name", sentence, hostile.named, offset, path, path)
        else:
            self._add("unlisted", _unlisted(path), Verdict.REVIEW, offset, path, path)

    def entry(self, named: Global) -> Entry | None:
        """Return what is permitted for a name, or None where it is not listed."""
        entry = self.policy.entry(named.module, named.name)
        if entry is None and self.torchscript and named.module.split(".")[0] == "__torch__":
            return Entry(new=True, call="any", result="torch.ScriptObject")
        return entry

    def call(self, how: str, callee: object, args: object, kwargs: object, offset: int) -> object:
        """Judge a call and return what stands for its result."""
        given = args if isinstance(args, tuple) else (args,)
        self._judge_arguments(callee, given, kwargs, offset)
        if self.latent:
            self._judge_latent(callee, given, kwargs, offset)
        if isinstance(callee, Global):
            entry = self.entry(callee)
            if entry is None:
                return self._unlisted_call(callee, args, kwargs, offset)
            return self._listed_call(how, callee, entry, args, kwargs, offset)
        held = _held(callee)
        if held is not None and (entry := self.entry(held)) is not None:
            return self._listed_call(how, held, entry, args, kwargs, offset)
        text = render_call(callee, args, kwargs)
        if self.quiet and isinstance(callee, Instance) and callee.kind not in CALLABLE:
            raise Damage("calls what cannot be called")
        if isinstance(callee, (Instance, Unknown)):
            sentence = "Loading calls what another call returned, which cannot be vouched for."
            self._add("computed-call", sentence, Verdict.DANGEROUS, offset, text)
        else:
            self._add("odd", "Loading calls a value that is no function.", Verdict.REVIEW, offset)
        return Instance("computed", True, text)

    def _judge_arguments(
        self, callee: object, args: tuple[object, ...], kwargs: object, offset: int
    ) -> None:
        for named in globals_in((args, kwargs)):
            if self.entry(named) is None and (
                hostile := self.policy.hostile(named.module, named.name)
            ):
                path = f"{named.module}.{named.name}"
                text = render_call(callee, args, kwargs)
                sentence = f"Loading hands {path}, which {hostile.what}, to a call."
                self._add("hostile-argument", sentence, hostile.called, offset, text, path)

    def _judge_latent(self, callee: object, args: object, kwargs: object, offset: int) -> None:
        """Report the names listed for one use alone that a call or a state hands on."""
        array = isinstance(callee, Global) and callee.name == "_reconstruct"
        for named in latent_in((args, kwargs)):
            path = f"{named.module}.{named.name}"
            if array and path == "numpy.memmap":
                continue
            known = self.policy.hostile_names[path]
            sentence = f"Loading keeps {path}, which {known.what}, to be called later."
            text = render_call(callee, args, kwargs)
            self._add("hostile-argument", sentence, Verdict.DANGEROUS, offset, text, path)

    def _unlisted_call(self, callee: Global, args: object, kwargs: object, offset: int) -> Instance:
        path = f"{callee.module}.{callee.name}"
        text = render_call(callee, args, kwargs)
        hostile = self.policy.hostile(callee.module, callee.name)
        if hostile is not None:
            sentence = f"Loading calls {path}, which {hostile.what}."
            self._add("hostile-call", sentence, hostile.called, offset, text, path)
        else:
            self._add("unlisted", _unlisted(path), Verdict.REVIEW, offset, text, path)
        return Instance(path, True, text)

    def _listed_call(
        self, how: str, callee: Global, entry: Entry, args: object, kwargs: object, offset: int
    ) -> object:
        path = f"{callee.module}.{callee.name}"
        new = how.startswith("NEWOBJ") or (how in ("INST", "OBJ") and args == ())
        if isinstance(args, tuple) and (kwargs is None or new):
            if new and entry.new and makes(path, args, kwargs):
                return self.make(path, args)
            if entry.call and not how.startswith("NEWOBJ"):
                kind = RULES[entry.call](args, self.policy)
                if kind is not None:
                    return self._result(kind or entry.result or path, entry, args, offset)
        text = render_call(callee, args, kwargs)
        read = (
            read_attribute(args, self.policy)
            if entry.call == "method" and isinstance(args, tuple)
            else None
        )
        if read is not None:
            return self._attribute(read, text, offset)
        sentence = f"Loading calls {path} in a way that no known writer of this format does."
        worse = self.policy.hostile_names.get(path)
        verdict = worse.called if worse is not None else Verdict.REVIEW
        self._add("argument-shape", sentence, verdict, offset, text)
        return Instance(path, True, text)

    def _attribute(self, path: str, text: str, offset: int) -> Instance:
        """Judge the reading of an attribute that is no method of common use."""
        home, _, name = path.rpartition(".")
        module, _, owner = home.rpartition(".")
        known = self.policy.hostile_method(module, f"{owner}.{name}")
        verdict = known.called if known is not None else Verdict.REVIEW
        why = f"which {known.what}" if known else "which may be computed by code as it is read"
        sentence = f"Loading reads the attribute {path}, {why}."
        self._add("attribute", sentence, verdict, offset, text, path)
        return Instance(path, True, text)

    def _result(self, kind: str, entry: Entry, args: tuple[object, ...], offset: int) -> object:
        if entry.call == "latin1":
            return _encoded(args[0])
        if entry.call == "nested" and self.nested is not None and args:
            self.nested(args[0], offset - self.base)
        return self.make(kind, args)

    def make(self, kind: str, args: tuple[object, ...]) -> Instance:
        """Return what stands for a value of a kind: one for all, unless its content matters."""
        if kind in TRACKED:
            made = Instance(kind)
            made.args = args
            return made
        if (
            kind == ARRAY and len(args) == 4 and self.report.kept
        ):  # numpy's _frombuffer: bytes, dtype, shape, order
            return _array(args[2])
        return self._made.setdefault(kind, Instance(kind))

    def build(self, target: object, state: object, offset: int) -> object:
        """Judge the setting of a state and return the object."""
        self._judge_state(target, state, offset)
        if self.latent:
            self._judge_latent(Unknown(f"{render(target)}.__setstate__"), (state,), None, offset)
        if isinstance(target, Global):
            path = f"{target.module}.{target.name}"
            sentence = f"Loading sets attributes on {path} itself, which changes it for everyone."
            call = f"{path}.__setstate__({render(state)[:200]})"
            self._add("build-on-name", sentence, Verdict.MALICIOUS, offset, call)
        elif isinstance(target, Instance) and not target.flagged:
            return self._build_instance(target, state, offset)
        elif isinstance(target, Unknown):
            sentence = "Loading sets a state on a value that cannot be told."
            self._add("computed-state", sentence, Verdict.DANGEROUS, offset)
        elif not isinstance(target, Instance):
            self._add("odd", "Loading sets a state on a plain value.", Verdict.REVIEW, offset)
        return target

    def _build_instance(self, target: Instance, state: object, offset: int) -> object:
        home, _, last = target.kind.rpartition(".")
        entry = self.entry(Global(home, last))
        fine = target.kind in WRAPPERS or (entry is not None and entry.new)
        if target.kind == "functools.partial":
            fine = (
                isinstance(state, tuple)
                and len(state) == 4
                and (listed(state[0], self.policy) or isinstance(state[0], Instance))
            )
        why = lie(target, state) if target.kind == "numpy.dtype" else ""
        if why:
            sentence = f"Loading makes a dtype that {why}; numpy, which trusts it, would take bytes"
            sentence += " for addresses or reach beyond its array."
            call = f"{render(target)}.__setstate__({render(state)[:200]})"
            verdict = Verdict.REVIEW if why == MANY else Verdict.DANGEROUS
            self._add("dtype", sentence, verdict, offset, call)
        if not fine:
            sentence = f"Loading sets a state on {target.kind}, which no known writer does."
            call = f"{render(target)}.__setstate__({render(state)[:200]})"
            self._add("argument-shape", sentence, Verdict.REVIEW, offset, call)
        if target.kind in TRACKED:
            target.state = state
        return self._noted(target, state) if self.report.kept else target

    def _noted(self, target: Instance, state: object) -> Instance:
        """Note the rows that an object keeps; arrays are told apart by their shapes."""
        if target.kind == ARRAY and isinstance(state, tuple) and len(state) == 5:
            return _array(state[1])
        key = keeper(target.kind)
        kept = self.report.kept.get((self.member or "", key)) if key else None
        if key is not None and kept is not None:
            note_state(kept, key, state)
        return target

    def _judge_state(self, target: object, state: object, offset: int) -> None:
        parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
        for part in parts:
            hard = isinstance(part, Mapping) and [
                name for name in part.dunders if name not in HARMLESS_DUNDERS
            ]
            if hard:
                sentence = f"Loading sets {', '.join(hard[:3])}, which changes what an object is."
                call = f"{render(target)}.__setstate__({render(part)[:200]})"
                self._add("dunder-state", sentence, Verdict.MALICIOUS, offset, call)
            if isinstance(part, Unknown):
                sentence = "Loading sets a state that cannot be told."
                self._add("computed-state", sentence, Verdict.DANGEROUS, offset)

    def fill(self, target: object, values: list[object], how: str, offset: int) -> None:
        """Judge items put into something that is no plain container."""
        if self.latent:
            self._judge_latent(Unknown(f"{render(target)}.{how}"), tuple(values), None, offset)
        if isinstance(target, Instance) and target.flagged:
            return
        if isinstance(target, Instance):
            self._fill_instance(target, values, how, offset)
        elif isinstance(target, (Global, Unknown)):
            sentence = f"Loading puts items into {render(target)} itself."
            self._add(
                "fill-on-name", sentence, Verdict.DANGEROUS, offset, f"{render(target)}.{how}"
            )
        elif not isinstance(target, (Items, Mapping)):
            self._add("odd", "Loading puts items into a plain value.", Verdict.REVIEW, offset)

    def _fill_instance(self, target: Instance, values: list[object], how: str, offset: int) -> None:
        entry = self.policy.kind(target.kind)
        if entry is None or not entry.container:
            sentence = f"Loading puts items into {target.kind}, which no known writer does."
            self._add("argument-shape", sentence, Verdict.REVIEW, offset, f"{target.kind}.{how}")
        keys = values[::2] if how == "setitem" else []
        if any(type(key) is str and key[:2] == "__" and key[-2:] == "__" for key in keys):
            sentence = f"Loading sets a dunder key on {target.kind}."
            self._add("dunder-state", sentence, Verdict.REVIEW, offset)

    def outside(self, kind: str, value: object, offset: int) -> object:
        """Judge what a stream asks for that is not in it."""
        if kind == "extension":
            sentence = f"Extension code {value} stands for a name that only the loading side knows."
            self._add("extension-code", sentence, Verdict.DANGEROUS, offset, f"copyreg[{value}]")
            return Unknown(f"extension code {value}")
        if kind == "buffer":
            sentence = "The stream needs buffers that are kept outside it."
            self._add("outside-buffer", sentence, Verdict.UNREADABLE, offset)
            return Unknown("outside buffer")
        if _is_storage(value):
            self.persistent.append(value)
            return Instance("torch.storage.TypedStorage")
        if _is_module(value):  # torch's reader hands the class back and compares its source
            assert isinstance(value, tuple)
            return value[1]
        if self.quiet and isinstance(value, (str, bytes)) and not value.isascii():
            # Every reader takes such an id for damage: these bytes are no pickle.
            raise Damage("a persistent id that is not ASCII")
        sentence = "The stream refers to an object that only its own loader can find."
        self._add("persistent-id", sentence, Verdict.REVIEW, offset, render(value)[:200])
        return Unknown("persistent object")

    def odd(self, sentence: str, offset: int) -> None:
        """Note what no writer writes and readers treat differently."""
        self._add("odd", sentence, Verdict.UNREADABLE, offset)


def _array(shape: object) -> Instance:
    """An array that remembers its shape."""
    made = Instance(ARRAY)
    made.state = shape
    return made


def _unlisted(path: str) -> str:
    own = path.startswith("__main__.")
    whose = "a name of the script that wrote the file" if own else "not on the allowlist"
    return (
        f"{path} is {whose}; if you know its code and where the file comes from, "
        'set trust = "sha256:…" to the digest of this very file.'
    )


def _renamed_since_python2(module: str, name: str) -> tuple[str, str]:
    """Map a Python 2 name as CPython's unpickler does for protocols below 3."""
    if (module, name) in _compat_pickle.NAME_MAPPING:
        mapped: tuple[str, str] = _compat_pickle.NAME_MAPPING[module, name]
        return mapped
    return _compat_pickle.IMPORT_MAPPING.get(module, module), name


def _is_storage(value: object) -> bool:
    """Tell whether a persistent id is torch's: ("storage", type, key, location, count, ...)."""
    if not isinstance(value, tuple) or len(value) not in (5, 6):
        return False
    tag, kind, key, location, count = value[:5]
    plain = isinstance(key, (str, int)) and isinstance(location, (str, int))
    return (
        tag in ("storage", b"storage")
        and isinstance(kind, Global)
        and plain
        and (isinstance(count, int))
    )


def _is_module(value: object) -> bool:
    """Tell whether a persistent id is torch's legacy one: ("module", class, file, source)."""
    if not isinstance(value, tuple) or len(value) != 4 or value[0] != "module":
        return False
    told = all(text is None or isinstance(text, (str, Bulk)) for text in value[2:])
    return told and isinstance(value[1], Global)


def _encoded(text: object) -> object:
    """Return the bytes that ``_codecs.encode(text, "latin1")`` makes."""
    if isinstance(text, str):
        return text.encode("latin-1", "replace")
    assert isinstance(text, Bulk)
    return Bulk("latin1", text.length, text.offset)


def _held(callee: object) -> Global | None:
    """The function behind a partial that a known writer calls, where it holds what that writes."""
    if not isinstance(callee, Instance) or callee.kind != "functools.partial" or callee.flagged:
        return None
    named = callee.args[0] if len(callee.args) == 1 else None
    state = callee.state
    if not isinstance(named, Global) or not isinstance(state, tuple) or len(state) != 4:
        return None
    key, given = PARTIALS.get(f"{named.module}.{named.name}"), state[2]
    fine = key is not None and state[0] is named and state[1] == ()
    fine = fine and isinstance(given, Mapping) and given.length == 1
    return named if fine and type(given.get(key)) is int else None
