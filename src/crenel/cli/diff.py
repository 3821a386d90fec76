"""``crenel diff``."""

from __future__ import annotations

from typing import Annotated

import typer

from crenel.cli.options import Json, StoreUrl


def diff(
    a: Annotated[str, typer.Argument(help="The earlier run.")],
    b: Annotated[str, typer.Argument(help="The later run.")],
    store: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """Compare two runs: curves at the same budgets, findings gone and new."""
    from crenel.auditor.compare import compare
    from crenel.cli.options import emit, find_run

    changes = compare(find_run(a, store), find_run(b, store))
    if as_json:
        emit(changes.model_dump(mode="json"))
        return
    for change in changes.curves:
        typer.echo(change.sentence())
    for word, findings in (("gone", changes.gone), ("new", changes.new)):
        for finding in findings:
            typer.echo(f"{word:<5} {finding.fingerprint}  {finding.sentence}")
    if not (changes.curves or changes.gone or changes.new):
        typer.echo("the runs share no curve and no finding differs")
