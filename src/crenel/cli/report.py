"""``crenel report``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from crenel.cli.options import RunName, StoreUrl

FORMATS = ("html", "json", "markdown", "sarif", "junit")


def report(
    run: RunName = "last",
    format: Annotated[str, typer.Option("--format", help=", ".join(FORMATS))] = "html",
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write; standard output otherwise.")
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of report.json instead.")
    ] = False,
    store: StoreUrl = None,
) -> None:
    """Write a stored run as a report."""
    from crenel.cli.options import emit, find_run
    from crenel.errors import UsageError
    from crenel.report.formats import render
    from crenel.report.json import schema as json_schema

    if schema:
        emit(json_schema())
        return
    if format not in FORMATS:
        raise UsageError(f"{format!r} is no format; formats are {', '.join(FORMATS)}")
    text = render(find_run(run, store), format)
    if out is None:
        sys.stdout.write(text)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}") from error
