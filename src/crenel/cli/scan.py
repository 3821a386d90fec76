"""``crenel scan``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crenel.cli.options import Json


def scan(
    paths: Annotated[list[Path], typer.Argument(help="Model files and folders.")],
    as_json: Json = False,
) -> None:
    """Scan model files without loading them: what would they do when loaded?"""
    from crenel.cli.options import emit
    from crenel.scan import exit_code, scan_paths

    results = scan_paths(paths)
    if as_json:
        emit([r.to_json() for r in results])
    else:
        _print(results)
    raise typer.Exit(exit_code(results))


def _print(results: list) -> None:  # type: ignore[type-arg]
    from rich.console import Console
    from rich.markup import escape

    colours = {"clean": "green", "review": "yellow", "unreadable": "yellow"}
    console = Console(soft_wrap=True, highlight=False)
    for result in results:
        colour = colours.get(result.verdict, "red")
        console.print(
            f"[{colour}]{result.verdict:<10}[/] {escape(str(result.path))} "
            f"[dim]{escape(result.format)}[/]"
        )
        for reason in result.reasons:
            place = "" if reason.offset is None else f" (byte {reason.offset})"
            console.print(f"           {escape(reason.sentence)}{place}")
    worst = [r for r in results if r.verdict != "clean"]
    console.print(f"{len(results)} files, {len(worst)} not clean")
