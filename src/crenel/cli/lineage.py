"""``crenel lineage``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crenel.cli.options import Json

if TYPE_CHECKING:
    from crenel.transfer.lineage import Lineage


def lineage(
    model: Annotated[Path, typer.Argument(help="Model file, or folder with one.")],
    base: Annotated[list[Path], typer.Option("--base", help="A base it may come from; repeat.")],
    trust: Annotated[
        list[str] | None,
        typer.Option("--trust", help="Digest of a file to read although its scan is not clean."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say which base a model comes from, and which layers changed by how much."""
    from crenel.cli.options import emit
    from crenel.transfer.lineage import trace

    found = trace(model, base, trust=trust or ())
    if as_json:
        emit([f.to_json() for f in found])
        return
    for i, one in enumerate(found):
        _print(one, whole=i == 0 and one.verdict.related)


def _print(found: Lineage, *, whole: bool) -> None:
    from crenel.transfer.lineage.origin import table

    typer.echo(f"{found.sentence}.")
    papers = found.papers
    if papers is not None and papers.fields:
        differ = f" ({'; '.join(papers.differing)})" if papers.differing else ""
        typer.echo(f"  configuration: {papers.equal} of {papers.fields} fields equal{differ}")
    if papers is not None and papers.overlap is not None:
        typer.echo(
            f"  vocabulary: {100 * papers.overlap:.1f} % of tokens in both, of these "
            f"{100 * (papers.same_ids or 0.0):.1f} % with the same number"
        )
    if papers is not None and papers.claims:
        typer.echo(f"  says of itself that it comes from: {', '.join(papers.claims)}")
    for note in found.notes:
        typer.echo(f"  {note}")
    if whole:
        typer.echo("\n" + table(found.layers, most=1000) + "\n")
