"""One screen: how bad, where, what next."""

from __future__ import annotations

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from crenel.report.curves import Curve
from crenel.report.risks import RiskView
from crenel.report.view import View, view
from crenel.report.words import cut, duration, is_share
from crenel.run import Outcome, Run, TargetPart

BLOCKS = "▁▂▃▅▇█"
#: Style of each status; what was not measured is never green.
STYLES = {
    "fail": "bold red",
    "incomplete": "yellow",
    "pass": "green",
    "not judged": "bright_black",
    "–": "bright_black",
}
#: Narrower consoles have a risk's figures on one line and its headline below.
WIDE = 100
DIM = "bright_black"
#: Reasons for not measuring that are shown; the report has them all.
REASONS = 4
#: Notes of the targets (what loading assumed) that are shown.
NOTES = 2


def render(run: Run, console: Console, report: str = "") -> None:
    """Print the run on one screen.

    Parameters
    ----------
    run : Run
    console : rich.console.Console
        Its width decides the layout; its colour settings (NO_COLOR) are kept.
    report : str
        Path of the written report, for the last line; empty where there is none.
    """
    v = view(run)
    for part in v.targets:
        console.print(_header(part, console.width), highlight=False)
    console.print()
    console.print(_wide(v) if console.width >= WIDE else _narrow(v), highlight=False)
    console.print()
    console.print(_foot(v, report), highlight=False)


def spark(curve: Curve, length: int = 5) -> str:
    """A curve as blocks, evenly chosen points; shares from 0 to 1, others to their largest."""
    values = [p.value for p in curve.points]
    top = 1.0 if is_share(curve.exposure.harm.unit) else max(values) or 1.0
    steps = max(1, min(length, len(values)) - 1)
    chosen = [values[round(k * (len(values) - 1) / steps)] for k in range(steps + 1)]
    levels = [min(max(v / top, 0.0), 1.0) for v in chosen]
    return "".join(BLOCKS[min(5, int(level * 6))] for level in levels)


def _header(part: TargetPart, width: int) -> Text:
    facts = [part.model]
    facts += [f"{part.train_rows:,} train"] if part.train_rows is not None else []
    facts += [f"{part.test_rows:,} test"] if part.test_rows is not None else []
    facts += [f"attacker {part.access['sentence']}"] if part.access.get("sentence") else []
    facts = [f for f in facts if f]
    text = Text(part.name, style="bold", overflow="ellipsis", no_wrap=True)
    whole = " · ".join(["", *facts])
    if len(part.name) + len(whole) > width and len(facts) > 1:
        whole = f" · {facts[0]}\n    {' · '.join(facts[1:])}"
    return text.append(whole, style="default not bold")


def _spark(risk: RiskView) -> Text:
    if risk.worst is None:
        return Text("·", style=DIM)
    style = STYLES[risk.status] if risk.status in ("fail", "incomplete", "pass") else DIM
    return Text(spark(risk.worst), style=style.replace("bold ", ""))


def _headline(v: View, risk: RiskView) -> Text:
    text = Text(risk.headline, style="" if risk.measured else DIM)
    if v.several and risk.target:
        text.append(f" · {risk.target}", style=DIM)
    return text


def _wide(v: View) -> Padding:
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    for r in v.risks:
        limit = Text(r.limit.split(" at ")[0], style=DIM)
        table.add_row(
            r.name, _spark(r), _headline(v, r), Text(r.status, style=STYLES[r.status]), limit
        )
    return Padding(table, (0, 0, 0, 2))


def _narrow(v: View) -> Padding:
    table = Table.grid(padding=0, expand=True)
    table.add_column()
    for r in v.risks:
        line = Text(f"{r.name:<16}").append_text(_spark(r))
        line.pad_right(max(1, 24 - line.cell_len))
        line.append(r.status, style=STYLES[r.status]).append(f"  {r.limit}", style=DIM)
        line.no_wrap, line.overflow = True, "ellipsis"
        table.add_row(line)
        table.add_row(Padding(_headline(v, r), (0, 0, 0, 4)))
    return Padding(table, (0, 0, 0, 2))


def _foot(v: View, report: str) -> Padding:
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    style = STYLES[v.verdict]
    word, _, rest = v.sentence.rstrip(".").partition(":")
    verdict = Text(word.lower(), style=style).append(f":{rest}" if rest else "", style="default")
    if v.run.run.status != "complete":
        verdict.append(f" · the run is {v.run.run.status}", style="yellow")
    table.add_row("verdict", verdict)
    notes = [f"{p.name}: {n}" if v.several else n for p in v.targets for n in p.notes]
    if notes:
        more = f"; and {len(notes) - NOTES} more, in the report" if len(notes) > NOTES else ""
        table.add_row("notes", Text("; ".join(notes[:NOTES]) + more))
    treatment = v.run.run.treatment
    if treatment:
        done = str(treatment.get("sentence") or treatment.get("title") or "")
        table.add_row("remedy", Text(done))
        if treatment.get("result"):
            table.add_row("result", Text(str(treatment["result"])))
    if v.unmeasured:
        table.add_row("not measured", _unmeasured(v))
    if v.next:
        table.add_row("next", Text(v.next, overflow="fold"))
    info = v.run.run
    if report:
        table.add_row("report", Text(report, overflow="fold"))
    table.add_row("run", f"{info.id} · {duration(info.seconds)} · seed {info.seed}")
    return Padding(table, (0, 0, 0, 2))


def _unmeasured(v: View) -> Text:
    """Checks that did not measure, grouped by reason; errors first."""
    groups: dict[str, list[Outcome]] = {}
    for o in sorted(v.unmeasured, key=lambda o: o.outcome != "error"):
        groups.setdefault(o.reason, []).append(o)
    text = Text(style=DIM)
    for reason, own in list(groups.items())[:REASONS]:
        names = ", ".join(dict.fromkeys(_place(v, o) for o in own))
        style = "yellow" if own[0].outcome in ("error", "inconclusive") else DIM
        word = "" if own[0].outcome in ("not_applicable", "not_run") else f"{own[0].outcome}: "
        text.append("; " if text.plain else "").append(names, style=style)
        text.append(f" ({cut(word + reason, 72)})")
    if len(groups) > REASONS:
        text.append(f"; and {sum(map(len, list(groups.values())[REASONS:]))} more, in the report")
    return text


def _place(v: View, o: Outcome) -> str:
    return f"{o.check} on {o.target}" if v.several and o.target else o.check
