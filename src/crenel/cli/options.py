"""Options and output that verbs share."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from crenel.run import Run
    from crenel.store import Store

Json = Annotated[bool, typer.Option("--json", help="Print JSON to standard output.")]
Out = Annotated[Path, typer.Option("--out", help="Folder for report.html and report.json.")]
StoreUrl = Annotated[
    str | None,
    typer.Option("--store", envvar="CRENEL_STORE", help="Store of runs: a file or a URL."),
]
RunName = Annotated[
    str, typer.Argument(help="Run id, its beginning, a baseline, 'last', or a report.json.")
]

OUT = Path("crenel-out")


def emit(value: Any) -> None:
    """Print a value as JSON."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False, default=str)
    sys.stdout.write("\n")


def open_store(url: str | None) -> Store:
    """The store that was named, or the user's own."""
    from crenel.store import Store

    return Store(url)


def find_run(name: str, url: str | None) -> Run:
    """A stored run, or one read from a report.json.

    Raises
    ------
    crenel.errors.UsageError
        Where there is none.
    """
    path = Path(name)
    if path.suffix == ".json" or path.is_file():
        from crenel.errors import UsageError
        from crenel.report.json import from_json

        try:
            return from_json(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} cannot be read: {error}") from error
    from crenel.auditor.partial import stored_run

    store = open_store(url)
    return stored_run(store, store.find(name))


def write_reports(run: Run, out: Path) -> Path:
    """Write report.json and report.html; return the path of the latter.

    Raises
    ------
    crenel.errors.UsageError
        Where the folder cannot be written.
    """
    from crenel.errors import UsageError
    from crenel.report.html import render_html
    from crenel.report.json import to_json

    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "report.json").write_text(to_json(run), encoding="utf-8")
        page = out / "report.html"
        page.write_text(render_html(run), encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"the report cannot be written to {out}: {error.strerror}; name another with --out"
        ) from error
    return page


def show(run: Run, page: Path, as_json: bool) -> None:
    """Print a run: one screen for people, or JSON."""
    if as_json:
        from crenel.report.json import to_json

        sys.stdout.write(to_json(run))
        return
    from rich.console import Console

    from crenel.report.terminal import render

    render(run, Console(), str(page))
