"""The raw arrays that joblib writes into its pickle streams, right after their wrapper."""

from __future__ import annotations

import math
import re

from crenel.scan.context import Context
from crenel.scan.dtypes import item_size
from crenel.scan.judge import CERTAIN, HOSTILE, StreamJudge
from crenel.scan.machine import Damage, Machine
from crenel.scan.source import Budget
from crenel.scan.values import Instance, Mapping, render
from crenel.scan.verdict import Reason, Verdict

#: Operations that plain pickle's reading of all arrays of a file is followed for.
TWIN_OPERATIONS = 10_000_000


class JoblibArrays:
    """Called after each BUILD; passes over the array bytes that joblib reads there.

    Plain pickle reads those bytes as operations instead, so that reading is followed too.

    Parameters
    ----------
    context : Context
        The scan.

    Attributes
    ----------
    count : int
        Wrappers met so far.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.count = 0
        self.plain = Budget(operations=TWIN_OPERATIONS)

    def __call__(self, machine: Machine, value: object) -> object:
        """Return what takes the wrapper's place, after moving the machine past the array."""
        if not isinstance(value, Instance):
            return value
        if value.kind.endswith("numpy_pickle.NumpyArrayWrapper"):
            self.count += 1
            self._pass_array(machine, value)
            array = Instance("numpy.ndarray")
            array.state = value.state.get("shape") if isinstance(value.state, Mapping) else None
            return array
        if value.kind.endswith("NDArrayWrapper"):
            self.count += 1
            self._outside(machine, value)
            return Instance("numpy.ndarray")
        return value

    def _outside(self, machine: Machine, value: Instance) -> None:
        state = value.state if isinstance(value.state, Mapping) else Mapping()
        name = state.get("filename")
        simple = isinstance(name, str) and not re.search(r"[\\/:]|\.\.", name)
        sentence = f"Loading also reads the file {render(name)}, which was not scanned."
        verdict = Verdict.UNREADABLE if simple else Verdict.DANGEROUS
        self.context.add("outside-file", sentence, verdict, machine.pos - machine.start)

    def _pass_array(self, machine: Machine, value: Instance) -> None:
        state = value.state
        if not isinstance(state, Mapping) or state.length > 16:
            raise Damage("has a joblib array without a description")
        dtype = state.get("dtype")
        if not isinstance(dtype, Instance) or dtype.kind != "numpy.dtype":
            raise Damage("has a joblib array without a dtype")
        size, objects = item_size(dtype)
        twin = machine.twin(machine.judge, self.plain)
        if objects:
            inner = Machine(
                machine.data, machine.pos, machine.end, machine.judge, machine.budget
            )  # fmt: skip
            left = machine.budget.operations
            inner.run()
            machine.skip(inner.pos - machine.pos)
            # to plain pickle they are the same operations, up to the same end
            twin.budget = Budget(operations=left - machine.budget.operations + 1)
            # the names in a pickle go wrong with a memo that is not its own: only the worst count
            _follow(twin, HOSTILE)
            return
        if state.get("numpy_array_alignment_bytes") is not None:
            machine.skip(machine.take(1)[0])
        machine.skip(size * _count(state.get("shape")))
        _follow(twin)


def _follow(twin: Machine, certain: frozenset[str] = CERTAIN) -> None:
    """Run the reading of plain pickle; it nearly always breaks at the first array byte."""
    judge = twin.judge
    if not isinstance(judge, StreamJudge):
        return
    prefix = "Read by plain pickle: "
    twin.judge = StreamJudge(
        judge.policy, judge.report, judge.base, judge.member, prefix=prefix, quiet=True,
        certain=certain,
    )  # fmt: skip
    try:
        twin.run()
    except Damage:
        if twin.budget.operations <= 0:
            sentence = f"{prefix}The arrays have more operations than the budget allows."
            reason = Reason("over-budget", sentence, Verdict.UNREADABLE, None, None, judge.member)
            judge.report.add(reason)


def _count(shape: object) -> int:
    if not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise Damage("has a joblib array without a shape")
    return math.prod(n for n in shape if isinstance(n, int))
