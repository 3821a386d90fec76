"""``crenel explain``."""

from __future__ import annotations

from typing import Annotated

import typer

from crenel.cli.options import Json


def explain(
    id: Annotated[str, typer.Argument(help="Id of a check: EVA-102.")],
    as_json: Json = False,
) -> None:
    """Print the page of a check: what it measures, how, its limits and sources."""
    from dataclasses import asdict

    from crenel.check import load_checks
    from crenel.cli.options import emit
    from crenel.errors import UsageError
    from crenel.references import lookup
    from crenel.subject import CAPABILITIES

    listed = load_checks()
    check = listed.get(id.upper())
    if check is None:
        raise UsageError(f"no check is called {id!r}; there are {', '.join(listed)}")
    references = [lookup(key) for key in check.references]
    if as_json:
        emit(
            {
                "id": check.id,
                "risk": check.risk,
                "title": check.title,
                "question": check.question,
                "needs": list(check.needs),
                "page": check.doc,
                "references": [asdict(r) for r in references],
            }
        )
        return
    typer.echo(f"{check.id}  {check.title}\nrisk: {check.risk}\n\n{check.question}\n")
    typer.echo(check.doc)
    typer.echo("\nNot applicable where:")
    for need in check.needs:
        typer.echo(f"  {CAPABILITIES[need]}")
    typer.echo("\nReferences:")
    for reference in references:
        typer.echo(f"  {reference.framework} {reference.id}: {reference.title}")
