"""Pickle streams in a file: one or several, joblib's with raw arrays, torch's legacy five."""

from __future__ import annotations

from dataclasses import replace

from crenel.scan.context import Context
from crenel.scan.formats.arrays import JoblibArrays
from crenel.scan.judge import StreamJudge
from crenel.scan.machine import PAUSED, Damage, Machine
from crenel.scan.source import Budget, Unreadable, Window, window_of
from crenel.scan.values import Bulk, Global
from crenel.scan.verdict import Reason, Report, Verdict

TORCH_MAGIC = 0x1950A86A20F9469CFC6C
#: Operations after which the rest of a stream is estimated; that many are worth compiled code.
FIRST = (1_000, 20_000)
MANY = 1_500_000
PROBE_OPERATIONS = 10_000_000
ELEMENT_SIZES = {
    "FloatStorage": 4, "DoubleStorage": 8, "HalfStorage": 2, "BFloat16Storage": 2,
    "LongStorage": 8, "IntStorage": 4, "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1,
    "BoolStorage": 1, "ComplexFloatStorage": 8, "ComplexDoubleStorage": 16, "QInt8Storage": 1,
    "QUInt8Storage": 1, "QInt32Storage": 4, "UntypedStorage": 1,
}  # fmt: skip


def scan_pickle(window: Window, context: Context) -> str:
    """Scan one file or member of pickle streams and return its format."""
    return scan_streams(window, context)[0]


def scan_streams(
    window: Window, context: Context, torchscript: bool = False
) -> tuple[str, list[object]]:
    """Scan all streams of a window.

    Returns
    -------
    format : str
        ``pickle``, ``joblib`` or ``torch-legacy``.
    references : list
        The persistent ids of the streams, as symbolic values.
    """
    arrays = JoblibArrays(context)
    judge = _judge(context, window, torchscript)
    pos, top = _run(window, 0, context, judge, arrays)
    if top == TORCH_MAGIC:
        _torch_legacy(window, pos, context, judge)
        return "torch-legacy", judge.persistent
    if pos < len(window):
        _rest(window, pos, context, judge, arrays)
    return ("joblib" if arrays.count else "pickle"), judge.persistent


def _judge(context: Context, window: Window, torchscript: bool = False) -> StreamJudge:
    def nested(value: object, offset: int) -> None:
        _scan_nested(value, offset, window, context)

    return StreamJudge(
        context.policy, context.report, window.start, context.member, torchscript, nested
    )


def _run(
    window: Window, pos: int, context: Context, judge: StreamJudge, arrays: JoblibArrays | None
) -> tuple[int, object]:
    """Run one stream and return where it ended and its value; damage raises Unreadable."""
    budget = context.budget
    given = budget.operations
    machine = Machine(window.base, window.start + pos, window.end, judge, budget, arrays)
    try:
        for upto in FIRST:
            top = machine.run(pause=upto - (given - budget.operations))
            if top is not PAUSED:
                break
            if _is_long(machine, upto) and not (arrays and arrays.count):
                budget.operations, left = given, budget.operations
                end = _skimmed(window.window(pos), judge, budget)
                if end is not None:
                    return pos + end, None
                budget.operations = left
                break
        if top is PAUSED:
            top = machine.run()
    except Damage as error:
        at = machine.pos - window.start
        code = "over-budget" if "budget" in str(error) else "damaged"
        raise Unreadable(f"The pickle {error} at byte {at}.", code, at) from None
    return machine.pos - window.start, top


def _is_long(machine: Machine, operations: int) -> bool:
    """Tell whether many operations are to be expected from those read so far."""
    return (machine.end - machine.start) * operations >= (machine.pos - machine.start) * MANY


def _skimmed(window: Window, judge: StreamJudge, budget: Budget) -> int | None:
    """Return where a stream ends, None where the machine has to read it."""
    from crenel.scan.skim import skim  # compiled code, which small files do without

    found = skim(window, judge, budget.operations)
    if found is None:
        return None
    end, operations = found
    budget.operations -= operations
    return end


def _rest(
    window: Window, pos: int, context: Context, judge: StreamJudge, arrays: JoblibArrays
) -> None:
    """Read the streams that follow the first; bytes that are none are reported."""
    while pos < len(window):
        if not window.read(pos, 4096).strip(b"\0\r\n\t ") and len(window) - pos <= 4096:
            return
        scratch = Report()
        trial = replace(judge, report=scratch, seen=set(), _names={})
        start = pos
        try:
            pos, _ = _run(window, pos, replace(context, report=scratch), trial, arrays)
        except Unreadable as error:
            if trial.seen or error.code == "over-budget":
                context.report.merge(scratch)
                raise
            sentence = f"The {len(window) - start} bytes after the pickle belong to nothing known."
            context.add("trailing-data", sentence, Verdict.REVIEW, start)
            return
        context.report.merge(scratch)


def _scan_nested(value: object, offset: int, window: Window, context: Context) -> None:
    """Scan the bytes that ``torch.storage._load_from_bytes`` hands to torch.load."""
    inner = context.inside(f"bytes at {offset}")
    if isinstance(value, bytes):
        inner.guarded(inner.dispatch, window_of(value))
    elif isinstance(value, Bulk):
        part = Window(window.base, value.offset, value.offset + value.length, window.keep)
        if value.kind == "latin1":
            text = part.read(0, len(part)).decode("utf-8", "replace")
            part = window_of(text.encode("latin-1", "replace"))
        inner.guarded(inner.dispatch, part)
    else:
        sentence = "The bytes that torch would load from the pickle are computed while loading."
        context.add("computed-bytes", sentence, Verdict.DANGEROUS, offset)


def _torch_legacy(window: Window, pos: int, context: Context, judge: StreamJudge) -> None:
    """Read torch's further four streams and account for the raw storages behind them."""
    for _ in range(4):
        pos, _top = _run(window, pos, context, judge, None)
    storages: dict[object, int] = {}
    for reference in judge.persistent:
        if isinstance(reference, tuple) and len(reference) >= 5:
            kind, key, count = reference[1], reference[2], reference[4]
            size = ELEMENT_SIZES.get(kind.name.rpartition(".")[2]) if _named(kind) else None
            if size is None or not isinstance(count, int) or not isinstance(key, (str, int)):
                raise Unreadable("A storage of the torch file has an unknown type.", "damaged")
            storages[key] = max(storages.get(key, 0), 8 + count * size)
    end = pos + sum(storages.values())
    if end > len(window):
        raise Unreadable("The torch file ends inside its tensors.", "damaged", len(window))
    if end < len(window):
        sentence = f"The {len(window) - end} bytes after the tensors belong to nothing known."
        context.add("trailing-data", sentence, Verdict.REVIEW, end)


def _named(kind: object) -> bool:
    return isinstance(kind, Global)


def probe(window: Window, context: Context) -> tuple[bool, Report]:
    """Read bytes that need not be a pickle as one.

    Returns
    -------
    is_pickle : bool
        Whether STOP was reached, a name on the allowlist was looked up before the end, or there
        are more operations than are followed here.
    report : Report
        What loading them as a pickle would do; ``over-budget`` where that was not read to the end.
    """
    report = Report()
    judge = StreamJudge(
        context.policy, report, window.start, context.member,
        prefix="Read as a pickle: ", quiet=True,
    )  # fmt: skip
    budget = Budget(operations=PROBE_OPERATIONS)
    machine = Machine(window.base, window.start, window.end, judge, budget)
    try:
        machine.run()
    except Damage:
        if budget.operations <= 0:
            sentence = f"{judge.prefix}More operations than the budget allows."
            report.add(
                Reason("over-budget", sentence, Verdict.UNREADABLE, None, None, context.member)
            )
            return True, report
        return any(context.policy.entry(*name) for name in judge.seen), report
    return True, report
