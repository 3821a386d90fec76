"""``crenel checks``."""

from __future__ import annotations

import typer

from crenel.cli.options import Json


def checks(as_json: Json = False) -> None:
    """List every check: id, risk, what it needs, references."""
    from crenel.check import load_checks
    from crenel.cli.options import emit

    listed = load_checks().values()
    if as_json:
        emit(
            [
                {
                    "id": c.id,
                    "risk": c.risk,
                    "title": c.title,
                    "question": c.question,
                    "needs": list(c.needs),
                    "references": list(c.references),
                }
                for c in listed
            ]
        )
        return
    for c in listed:
        typer.echo(f"{c.id}  {c.risk:<15}  {c.title}")
    typer.echo("A page for each: crenel explain ID")
