"""The symbolic pickle machine: runs every opcode of protocols 0 to 5 without importing anything.

It follows CPython's unpickler (Lib/pickle.py and Modules/_pickle.c), and where readers disagree it
takes the more permissive way, so that whatever one of them would reach is seen. What a name, a
call or a state would do is decided by a `Judge`; the machine only says what happens and where.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Callable
from typing import Protocol

from crenel.scan.source import Budget
from crenel.scan.values import Items, Mapping

MAX_MEMO = 30_000_000
#: Operations after which the memory is estimated, at most so many bytes each: an object that a
#: call made holds its text.
PACE, EACH = 100_000, 500
#: Bytes of a small block of Python's allocator and of an entry of a dict, on average.
BLOCK, ENTRY = 64, 100


class Damage(Exception):
    """The stream cannot be read on; the text says why."""


PAUSED = object()


class Stopped(Exception):
    """The STOP opcode was reached."""


class _Overlay(dict[int, object]):
    """A memo that falls back to another one, which it leaves unchanged."""

    def __init__(self, below: dict[int, object]) -> None:
        super().__init__()
        self.below = below

    def __missing__(self, index: int) -> object:
        return self.below[index]

    def __len__(self) -> int:
        return len(self.below) + super().__len__()


class Judge(Protocol):
    """Decides about the events of a stream and gives the value that stands for the outcome."""

    def resolve(self, module: object, name: object, protocol: int, offset: int) -> object:
        """A name is looked up; ``module`` and ``name`` are strings, or values if computed."""

    def call(self, how: str, callee: object, args: object, kwargs: object, offset: int) -> object:
        """A callee is called; ``how`` is REDUCE, NEWOBJ, NEWOBJ_EX, INST or OBJ."""

    def build(self, target: object, state: object, offset: int) -> object:
        """A state is set on a value."""

    def fill(self, target: object, values: list[object], how: str, offset: int) -> None:
        """Items are appended to, added to or set on something that is no plain container."""

    def outside(self, kind: str, value: object, offset: int) -> object:
        """An extension code, a persistent id or an out-of-band buffer is asked for."""

    def odd(self, sentence: str, offset: int) -> None:
        """Readers would disagree here, or no writer writes this."""


class Machine:
    """One run over one pickle stream.

    Parameters
    ----------
    data : bytes or mmap
        What holds the stream.
    start, end : int
        Bounds of the bytes that the stream may use.
    judge : Judge
        Told of every event.
    budget : Budget
        Its ``operations`` are spent.
    after_build : callable, optional
        Called with the machine and the value after each BUILD; joblib's arrays hang on it.

    Attributes
    ----------
    pos : int
        Offset in ``data`` of the next byte.
    """

    __slots__ = (
        "after_build", "budget", "data", "end", "events", "judge", "marks", "memo", "pos",
        "protocol", "skipped", "stack", "start",
    )  # fmt: skip

    def __init__(
        self,
        data: bytes | mmap.mmap,
        start: int,
        end: int,
        judge: Judge,
        budget: Budget,
        after_build: Callable[[Machine, object], object] | None = None,
    ) -> None:
        self.data = data
        self.start = start
        self.pos = start
        self.end = end
        self.judge = judge
        self.budget = budget
        self.after_build = after_build
        self.stack: list[object] = []
        self.marks: list[list[object]] = []
        self.memo: dict[int, object] = {}
        self.protocol = 0
        self.events = 0
        self.skipped = 0

    def run(self, pause: int | None = None) -> object:
        """Run to STOP and return the value on top.

        Parameters
        ----------
        pause : int, optional
            Return ``PAUSED`` after so many operations; the next call goes on from there.

        Raises
        ------
        Damage
            Where the stream breaks, is cut short or goes over the budget.
        """
        from crenel.scan.opcodes import TABLE

        data, end, table = self.data, self.end, TABLE
        left = self.budget.operations
        last = 0 if pause is None else max(left - pause, 0)
        room, blocks = self.budget.memory, sys.getallocatedblocks()
        try:
            while left > last:
                until = max(left - max(room // EACH, PACE), last)
                stop = min(self.pos + max(room, PACE), end)
                for left in range(left, until, -1):  # noqa: B020 - what is left goes back
                    pos = self.pos
                    if pos >= stop:
                        if pos >= end:
                            raise Damage("ends before its STOP")
                        left += 1  # it was not run
                        break
                    self.pos = pos + 1
                    table[data[pos]](self)
                left -= 1
                room = self.budget.memory - self._held(blocks)
                if room < 0:
                    raise Damage("takes more memory than the budget allows")
            left += 1
            if last:
                return PAUSED
            raise Damage("has more operations than the budget allows")
        except Stopped:
            if not self.stack:
                raise Damage("ends with nothing on its stack") from None
            return self.stack.pop()
        except IndexError:
            raise Damage("takes from an empty stack") from None
        except KeyError:
            raise Damage("asks for a memo entry that was never stored") from None
        finally:
            self.budget.operations = left - 1

    def _held(self, blocks: int) -> int:
        """Estimate the bytes that the run holds, from above.

        Parameters
        ----------
        blocks : int
            Small blocks of memory that were in use before. Larger ones are those of the stack, of
            the memo, and of strings, which are no longer than the part of the stream that was read.
        """
        small = max(sys.getallocatedblocks() - blocks, 0) * BLOCK
        large = 8 * (len(self.stack) + sum(map(len, self.marks))) + ENTRY * len(self.memo)
        return small + large + self.pos - self.start - self.skipped

    def twin(self, judge: Judge, budget: Budget) -> Machine:
        """Return a copy at the same place, as a reader that knows nothing of what follows."""
        other = Machine(self.data, self.pos, self.end, judge, budget)
        other.stack = list(self.stack)
        other.marks = [list(part) for part in self.marks]
        other.memo = _Overlay(self.memo)
        other.protocol = self.protocol
        return other

    def take(self, length: int) -> bytes:
        """Return the next ``length`` bytes; raise Damage where they are missing."""
        first = self.pos
        last = first + length
        if length < 0 or last > self.end:
            raise Damage("is cut short")
        self.pos = last
        return self.data[first:last]

    def skip(self, length: int) -> int:
        """Pass over ``length`` bytes and return where they began."""
        first = self.pos
        if length < 0 or first + length > self.end:
            raise Damage("is cut short")
        self.pos = first + length
        self.skipped += length
        return first

    def line(self) -> bytes:
        """Return the bytes up to the next newline, without it.

        Where the data ends first, readers drop the last byte in its place.
        """
        first = self.pos
        last = self.data.find(b"\n", first, self.end)
        if last < 0:
            last = max(self.end - 1, first)
        self.pos = min(last + 1, self.end)
        return self.data[first:last]

    def to_mark(self) -> list[object]:
        """Return what was pushed since the last mark."""
        if not self.marks:
            raise Damage("looks for a mark that is not there")
        items = self.stack
        self.stack = self.marks.pop()
        return items

    def keep(self, index: int) -> None:
        """Store the top of the stack in the memo."""
        if len(self.memo) >= MAX_MEMO:
            raise Damage("fills its memo beyond the budget")
        self.memo[index] = self.stack[-1]

    def recall(self, index: int) -> None:
        """Push a value from the memo; an entry that is not there ends the run."""
        self.stack.append(self.memo[index])

    def add(self, values: list[object], kind: str, how: str) -> None:
        """Add values to the container on top of the stack."""
        target = self.stack[-1]
        if isinstance(target, Items) and target.kind == kind:
            target.extend(values)
        elif values:
            self.judge.fill(target, values, how, self.pos - 1)

    def set(self, values: list[object], how: str) -> None:
        """Set alternating keys and values on the mapping on top of the stack."""
        target = self.stack[-1]
        if isinstance(target, Mapping):
            target.update(values)
        elif values:
            self.judge.fill(target, values, how, self.pos - 1)
