"""``crenel runs``."""

from __future__ import annotations

from typing import Annotated

import typer

from crenel.cli.options import Json, StoreUrl


def runs(
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 20,
    name: Annotated[
        tuple[str, str] | None,
        typer.Option("--baseline", help="Give a run a name: --baseline RUN NAME."),
    ] = None,
    store: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """List the runs in the store, newest first."""
    from dataclasses import asdict

    from crenel.cli.options import emit, open_store

    kept = open_store(store)
    if name is not None:
        kept.name_baseline(name[1], kept.find(name[0]))
    listed = kept.runs(limit)
    if as_json:
        emit([asdict(r) for r in listed])
        return
    if not listed:
        typer.echo("no runs yet; make one: crenel audit, or crenel demo")
    for run in listed:
        verdict = run.verdict or run.status
        typer.echo(f"{run.id}  {run.created[:16].replace('T', ' ')}  {verdict:<10}  {run.name}")
