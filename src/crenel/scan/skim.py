"""Reads large pickle streams by compiled code, and hands over what has to be decided.

The kernel walks numbers, strings, containers and the memo with a tag in place of each value. At a
name, or at a call or state that it has no decision for, the symbolic machine runs the operations
that made the operands and the one that uses them, with the real judge; the outcome becomes one
more object that the kernel knows by number. So the cost follows the names and calls, not the data.

Whatever the kernel does not follow (a persistent id, text opcodes of protocol 0, an array of
joblib, a list that is fetched from the memo to be part of a call, an underflow, an odd length) ends
the attempt, and the machine reads the whole stream: nothing is ever taken for clean because it was
not followed.
"""

from __future__ import annotations

import mmap
import pickle
from dataclasses import dataclass, field

import numpy as np

from crenel.scan import kernel_tags as k
from crenel.scan.holds import Kept
from crenel.scan.judge import LATENT, TRACKED, WRAPPERS, StreamJudge
from crenel.scan.kernel import walk
from crenel.scan.kernel_strings import memoised, reference
from crenel.scan.machine import MAX_MEMO, Damage, Machine
from crenel.scan.opcodes import TABLE
from crenel.scan.rules import ALLOCATORS, CONSUMERS, vouched
from crenel.scan.source import Budget, Window, release, window_of
from crenel.scan.values import Bulk, Global, Instance
from crenel.scan.verdict import Report

MAX_DEPTH = 1 << 24
MAX_MARKS = 10_000
MAX_OBJECTS = 1 << 21
MAX_BYTES = (1 << 32) - 1
SLICE = 16 << 20
#: Operations that may be run again beyond as many as were walked.
AGAIN = 100_000
OPERANDS = {
    pickle.GLOBAL: 0, pickle.STACK_GLOBAL: 2, pickle.REDUCE: 2, pickle.NEWOBJ: 2, pickle.BUILD: 2,
    pickle.NEWOBJ_EX: 3,
}  # fmt: skip
HOWS = {pickle.REDUCE: 0, pickle.NEWOBJ: 1}
#: Rules that need not see the arguments: how much has to be known of them.
RULES = {
    "none": [k.NOTHING], "pairs": [k.NOTHING], "factory": [k.NOTHING],
    "constants": [k.NOTHING, k.CONSTANTS],
    "listed_all": [k.NOTHING, k.CONSTANTS, k.ALL_LISTED],
    "any": [k.NOTHING, k.CONSTANTS, k.ALL_LISTED, k.ANYTHING],
}  # fmt: skip


class Unfollowed(Exception):
    """The stream holds something that only the machine can follow."""


def _nested(value: object, offset: int) -> None:
    """Bytes to be loaded in turn are left to the machine."""
    raise Unfollowed


@dataclass
class Decider(StreamJudge):
    """A judge that may be asked again: what is tracked by identity stays the same object."""

    again: dict[int, Instance] = field(default_factory=dict)

    def call(self, how: str, callee: object, args: object, kwargs: object, offset: int) -> object:
        """Judge a call, or give the object that it made before."""
        known = self.again.get(offset)
        if known is not None:
            return known
        made = super().call(how, callee, args, kwargs, offset)
        if isinstance(made, Instance) and made.kind in TRACKED:
            self.again[offset] = made
        return made

    def make(self, kind: str, args: tuple[object, ...]) -> Instance:
        """One object for all of a kind, unless its content matters; no shapes are kept."""
        return super().make(kind, args if kind in TRACKED else ())

    def build(self, target: object, state: object, offset: int) -> object:
        """Judge the setting of a state and return the object itself.

        Behind the state of joblib's wrapper lie the bytes of its array, which are no operations.
        """
        if isinstance(target, Instance) and target.kind in WRAPPERS:
            raise Unfollowed
        super().build(target, state, offset)
        return target

    def outside(self, kind: str, value: object, offset: int) -> object:
        """What is not in the stream is left to the machine."""
        raise Unfollowed


class _Recalled(dict[int, object]):
    """The memo of the stream, for the machine that runs a part of it again."""

    def __init__(self, skim: Skim) -> None:
        super().__init__()
        self.skim = skim

    def __missing__(self, index: int) -> object:
        return self.skim.recall(index)

    def __setitem__(self, index: int, value: object) -> None:
        """Forget it: the stream's memo is as the kernel left it, and written once."""


class Skim:
    """One attempt at one stream.

    Parameters
    ----------
    window : Window
        The stream, from its first byte.
    judge : Decider
        Decides what is handed over.
    """

    def __init__(self, window: Window, judge: Decider) -> None:
        size = len(window)
        if size > MAX_BYTES:
            raise Unfollowed
        self.window = window
        self.judge = judge
        self.data = np.frombuffer(window.base, np.uint8, size, window.start)
        self.words = np.ndarray(
            (max(size - 7, 0),), "<u8", window.base, window.start, (1,)
        )  # fmt: skip
        self.state = np.zeros(k.WORDS, np.int64)
        depth = min(size + 1, MAX_DEPTH)
        self.tags = np.zeros(depth, np.uint8)
        self.places = np.zeros(depth, np.uint64)
        self.marks = np.zeros((min(size + 1, MAX_MARKS), 2), np.int64)
        cells = min(size + 1, MAX_MEMO)
        self.memo_tags = np.zeros(cells, np.uint8)
        self.memo = np.zeros(min(cells, k.EARLY), np.uint32)
        self.late = np.zeros(cells, np.uint64)
        self.checks = np.zeros(cells // k.EVERY + 1, np.uint32)
        self.objects = np.zeros((64, 2), np.uint8)
        self.made = np.full((64, 2, 4), -1, np.int32)
        self.spans = np.zeros((64, 2, k.WAYS, 3), np.uint32)
        self.values: list[object] = []
        self.numbers: dict[int, int] = {}
        self.allowance = AGAIN

    def run(self, limit: int) -> tuple[int, int]:
        """Walk to STOP.

        Returns
        -------
        end, operations : int
            Where the stream ends, and how many operations there were.

        Raises
        ------
        Unfollowed, Damage
            Where the machine has to read the stream.
        """
        while True:
            until = int(self.state[k.POS]) + SLICE
            outcome = walk(
                self.data, self.words, self.state, self.tags, self.places, self.marks,
                self.memo_tags, self.memo, self.late, self.checks, self.objects,
                self.made, self.spans, until, limit,
            )  # fmt: skip
            if outcome == k.END:
                return int(self.state[k.POS]), int(self.state[k.COUNT])
            if outcome == k.DECIDE:
                self._decide()
            elif outcome == k.GIVE_UP:
                raise Unfollowed
            elif isinstance(self.window.base, mmap.mmap):
                release(self.window.base, self.window.start + int(self.state[k.POS]))

    def _decide(self) -> None:
        """Let the machine run the operation at which the kernel stopped, with what leads to it."""
        at, depth = int(self.state[k.POS]), int(self.state[k.DEPTH])
        code = self.window.read(at, 1)
        count = OPERANDS[code]
        bottom = depth - count
        begin = int(self.places[bottom]) >> 32 if count else at
        result, end = self._again(begin, at)
        number = self._number(result)
        if code in HOWS and int(self.tags[bottom]) & 15 == k.OBJECT:
            self._keep(bottom, HOWS[code], at, number)
        self.tags[bottom] = self.objects[number, 0]
        self.places[bottom] = begin << 32 | number
        self.state[k.DEPTH] = bottom + 1
        self.state[k.POS] = end
        self.state[k.COUNT] += 1

    def _again(self, begin: int, at: int) -> tuple[object, int]:
        """Run the operations from one offset to another by the machine."""
        base = self.window.start
        machine = Machine(self.window.base, base + begin, self.window.end, self.judge, Budget())
        machine.memo = _Recalled(self)
        machine.protocol = self._protocol()
        steps = 0
        left = self.allowance + int(self.state[k.COUNT])
        while machine.pos <= base + at:
            steps += 1
            if steps > left:
                raise Unfollowed
            machine.pos += 1
            TABLE[machine.data[machine.pos - 1]](machine)
        self.allowance -= steps
        if len(machine.stack) != 1 or machine.marks:
            raise Unfollowed
        return machine.stack[0], machine.pos - base

    def _protocol(self) -> int:
        first = self.window.read(0, 2)
        return first[1] if first[:1] == pickle.PROTO else 0

    def recall(self, index: int) -> object:
        """Return a value of the memo: an object, or a number or string that is read again."""
        kind = int(self.memo_tags[index]) & 15 if index < len(self.memo_tags) else 0
        place = int(self.memo[index]) if kind and index < len(self.memo) else 0
        if kind == k.OBJECT:
            late = index >= k.EARLY
            number = reference(self.late, int(self.state[k.LATE]), index) if late else place
            return self.values[number]
        if not 0 < kind <= k.BYTES:
            raise Unfollowed
        if not place:
            check = (index - 1) // k.EVERY
            start, count = int(self.checks[check]), index - check * k.EVERY
            place = int(memoised(self.data, start, count)) if start else 0
        if not place:
            raise Unfollowed
        start = self.window.start
        machine = Machine(
            self.window.base, start + place + 1, self.window.end, self.judge, Budget()
        )  # fmt: skip
        TABLE[machine.data[start + place]](machine)
        return machine.stack[0]

    def _keep(self, slot: int, how: int, at: int, result: int) -> None:
        """Remember what a call returned: with the same arguments it would be judged the same."""
        value = self.values[result]
        if isinstance(value, Instance) and value.kind in TRACKED:
            return
        callee, begin = int(self.places[slot]) & 0xFFFFFFFF, int(self.places[slot + 1]) >> 32
        if int(self.tags[slot + 1]) & 15 == k.EMPTY:
            self.made[callee, how, k.NOTHING] = result
        ways = self.spans[callee, how]
        ways[1:] = ways[:-1].copy()
        ways[0] = begin, at, result

    def _number(self, value: object) -> int:
        """Return the number of an object, which is described when it is first met."""
        number = self.numbers.get(id(value))
        if number is not None:
            return number
        number = len(self.values)
        if number == MAX_OBJECTS or not isinstance(value, (Global, Instance, Bulk, bytes)):
            raise Unfollowed
        if number == len(self.objects):
            self.objects = np.concatenate([self.objects, np.zeros_like(self.objects)])
            self.made = np.concatenate([self.made, np.full_like(self.made, -1)])
            self.spans = np.concatenate([self.spans, np.zeros_like(self.spans)])
        self.values.append(value)  # which keeps it, so that its identity is not used again
        self.numbers[id(value)] = number
        self.objects[number] = k.OBJECT | k.CONSTANT, 0
        if isinstance(value, Instance):
            self._describe_instance(number, value)
        elif isinstance(value, Global):
            self._describe_name(number, value)
        return number

    def _describe_instance(self, number: int, value: Instance) -> None:
        home, _, last = value.kind.rpartition(".")
        own, listed = self.judge.entry(Global(home, last)), self.judge.policy.kind(value.kind)
        tracked = value.kind in TRACKED or value.kind.endswith("ArrayWrapper")
        builds = not tracked and (value.flagged or (own is not None and own.new))
        holds = value.flagged or (listed is not None and listed.container)
        member = vouched(value) and value.kind != "builtins.range"
        self.objects[number, 0] = k.OBJECT | (k.MEMBER if member else 0)
        self.objects[number, 1] = (k.BUILDS if builds else 0) | (k.HOLDS if holds else 0)

    def _describe_name(self, number: int, value: Global) -> None:
        policy, path = self.judge.policy, f"{value.module}.{value.name}"
        member = policy.entry(value.module, value.name) is not None
        self.objects[number, 0] = k.OBJECT | (k.MEMBER if member else 0)
        entry = self.judge.entry(value)
        if entry is None:
            if policy.hostile(value.module, value.name) is not None:
                self.state[k.HOSTILE] = 1
            return
        if path in LATENT:  # how it is used is looked into by the machine alone
            raise Unfollowed
        sees = path in ALLOCATORS or path in TRACKED or CONSUMERS.fullmatch(path)
        if entry.new and not sees:
            made = self._number(self.judge.make(path, ()))
            self.made[number, HOWS[pickle.NEWOBJ]] = made
        if entry.call == "latin1":
            self.objects[number, 1] |= k.ENCODES
        kind = entry.result or path
        if entry.call in RULES and kind not in TRACKED:
            made = self._number(self.judge.make(kind, ()))
            self.made[number, HOWS[pickle.REDUCE], RULES[entry.call]] = made


def skim(window: Window, judge: StreamJudge, limit: int) -> tuple[int, int] | None:
    """Read one stream from the first byte of a window.

    Parameters
    ----------
    window : Window
        Bytes of a pickle stream.
    judge : StreamJudge
        Gets the reasons and names of the stream where it could be followed to its end, else none.
    limit : int
        Operations that may be walked.

    Returns
    -------
    tuple of int or None
        Where the stream ends, and how many operations there were; None where the machine has to
        read it.
    """
    decider = Decider(
        judge.policy, Report(), judge.base, judge.member, judge.torchscript, _nested,
        judge.prefix,
    )  # fmt: skip
    try:
        found = Skim(window, decider).run(limit)
    except (Unfollowed, Damage, IndexError, KeyError):
        return None
    for place in decider.report.kept:  # most states were not looked into
        decider.report.kept[place] = Kept(unsure=True)
    judge.report.merge(decider.report)
    judge.seen |= decider.seen
    return found


def warm_up() -> None:
    """Compile the kernel, which is kept for later runs."""
    from crenel.scan.policy import default_policy

    skim(window_of(pickle.dumps([1, "a"], 4)), StreamJudge(default_policy(), Report()), 100)
