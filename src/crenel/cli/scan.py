"""``crenel scan``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crenel.cli.options import Json

if TYPE_CHECKING:
    from crenel.scan import LoaderHole, ScanResult


def scan(
    paths: Annotated[list[Path], typer.Argument(help="Model files and folders.")],
    as_json: Json = False,
) -> None:
    """Scan model files without loading them: what would they do when loaded?"""
    from crenel.cli.options import emit
    from crenel.scan import exit_code, loader_holes, scan_paths

    results = scan_paths(paths)
    holes = loader_holes(results)
    if as_json:
        emit([_json(r, holes) for r in results])
    else:
        _print(results)
        _print_holes(results, holes)
    raise typer.Exit(exit_code(results))


def _json(result: ScanResult, holes: list[LoaderHole]) -> dict[str, object]:
    found = [hole.to_json() for hole in holes if hole.concerns(result)]
    return {**result.to_json(), "loader_holes": found}


def _print_holes(results: list[ScanResult], holes: list[LoaderHole]) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(soft_wrap=True, highlight=False)
    for hole in holes:
        count = sum(hole.concerns(result) for result in results)
        console.print(
            f"[dim]loader[/]     {escape(hole.package)} {escape(hole.installed)} is installed: "
            f"{hole.id}, it {escape(hole.does)}; fixed in {escape(hole.fixed)}. "
            f"{count} files are of its formats"
        )


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
