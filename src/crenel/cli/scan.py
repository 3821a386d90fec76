"""``crenel scan``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crenel.cli.options import Json
from crenel.errors import UsageError


def scan(
    paths: Annotated[list[Path], typer.Argument(help="Model files and folders.")],
    as_json: Json = False,
    as_sarif: Annotated[
        bool, typer.Option("--sarif", help="Print SARIF 2.1.0, for code hosts.")
    ] = False,
) -> None:
    """Scan model files without loading them: what would they do when loaded?"""
    from crenel.cli.scanning import scan_and_print

    if as_json and as_sarif:
        raise UsageError("--json and --sarif cannot both be printed: choose one")
    form = "json" if as_json else "sarif" if as_sarif else "text"
    raise typer.Exit(scan_and_print(paths, form))
