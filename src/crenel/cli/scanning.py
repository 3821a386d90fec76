"""What ``crenel scan`` does and prints, without the parser of the command line.

The parser takes longer to import than most scans take, so that arguments which need none (files
and folders that exist, ``--json`` and ``--sarif``) come here at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crenel.scan import Hold, LoaderHole, ScanResult, Shadowed

FORMS = {"--json": "json", "--sarif": "sarif"}
COLOURS = {"clean": "green", "review": "yellow", "unreadable": "yellow"}


def direct(arguments: Sequence[str]) -> int | None:
    """Run ``scan PATH... [--json | --sarif]``; return the exit code, None for other arguments."""
    if not arguments or arguments[0] != "scan":
        return None
    given = list(arguments[1:])
    form = FORMS.get(given[-1]) if given else None
    paths = given if form is None else given[:-1]
    if not paths or not all(path[:1] != "-" and os.path.lexists(path) for path in paths):
        return None
    from crenel.cli.failures import told

    return told(lambda: scan_and_print([Path(path) for path in paths], form or "text"))


def scan_and_print(paths: list[Path], form: str) -> int:
    """Scan and print as "text", "json" or "sarif"; return the exit code."""
    from crenel.scan import exit_code, holds_of, loader_holes, scan_paths, shadowed_by

    results = scan_paths(paths)
    holes, shadows, holds = loader_holes(results), shadowed_by(results), holds_of(results)
    if form == "sarif":
        from crenel.scan.sarif import to_sarif

        sys.stdout.write(to_sarif(results, holes, shadows, holds))
    elif form == "json":
        from crenel.scan.plain_json import dumped

        rows = [_json(result, holes, shadows, holds) for result in results]
        sys.stdout.write(dumped(rows, indent=2) + "\n")
    else:
        _print(results, holes, shadows, holds)
    return exit_code(results)


def _json(
    result: ScanResult, holes: list[LoaderHole], shadows: list[Shadowed], holds: list[Hold]
) -> dict[str, object]:
    found = [hole.to_json() for hole in holes if hole.concerns(result)]
    own = [told.to_json() for told in shadows if told.concerns(result)]
    rows = [hold.to_json() for hold in holds if hold.path == result.path]
    return {**result.to_json(), "loader_holes": found, "shadowed_modules": own, "holds": rows}


def _print(
    results: list[ScanResult],
    holes: list[LoaderHole],
    shadows: list[Shadowed],
    holds: list[Hold],
) -> None:
    told = [[("shadowed", "red"), (f"   {_shown(s.sentence)}", "")] for s in shadows]
    told += [[("holds", "dim"), (f"      {_shown(h.sentence)}", "")] for h in holds]
    lines = [*_lines(results), *_hole_lines(results, holes), *told]
    if not sys.stdout.isatty():  # importing rich takes as long as a scan
        sys.stdout.writelines("".join(text for text, _ in line) + "\n" for line in lines)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    for line in lines:
        console.print(Text.assemble(*line))


def _lines(results: list[ScanResult]) -> Iterator[list[tuple[str, str]]]:
    """Yield lines as pieces of text with their styles."""
    for result in results:
        colour = COLOURS.get(result.verdict, "red")
        yield [
            (f"{result.verdict:<10}", colour),
            (f" {_shown(str(result.path))} ", ""),
            (_shown(result.format), "dim"),
        ]
        for reason in result.reasons:
            place = "" if reason.offset is None else f" (byte {reason.offset})"
            yield [(f"           {_shown(reason.sentence)}{place}", "")]
    worst = sum(result.verdict != "clean" for result in results)
    told = f"{len(results)} files, {worst} not clean" if results else "no file: nothing was scanned"
    yield [(told, "")]


def _hole_lines(
    results: list[ScanResult], holes: list[LoaderHole]
) -> Iterator[list[tuple[str, str]]]:
    for hole in holes:
        count = sum(hole.concerns(result) for result in results)
        yield [
            ("loader", "dim"),
            (
                f"     {hole.package} {hole.installed} is installed: {hole.id}, it {hole.does}; "
                f"fixed in {hole.fixed}. {count} files are of its formats",
                "",
            ),
        ]


def _shown(text: str) -> str:
    """Return text of a file with what would steer a terminal written out."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
