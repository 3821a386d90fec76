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
    from crenel.cli.scanning import scan_and_print

    raise typer.Exit(scan_and_print(paths, as_json))
