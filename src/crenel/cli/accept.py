"""``crenel accept``."""

from __future__ import annotations

from typing import Annotated

import typer

from crenel.cli.options import Json, StoreUrl


def accept(
    finding: Annotated[str, typer.Argument(help="Fingerprint of a finding.")],
    owner: Annotated[str, typer.Option("--owner", help="Who accepts the risk.")],
    reason: Annotated[str, typer.Option("--reason", help="Why.")],
    until: Annotated[str, typer.Option("--until", help="Last day on which it holds: 2027-03-31.")],
    run: Annotated[str, typer.Option("--run", help="The run that found it.")] = "last",
    store: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """Accept a finding's risk until a date; afterwards, or when it grows worse, it counts again."""
    from datetime import date

    from crenel.cli.options import emit, find_run, open_store
    from crenel.errors import UsageError
    from crenel.register import Acceptance

    try:
        day = date.fromisoformat(until)
    except ValueError:
        raise UsageError(f"{until!r} is not a date; write for example 2027-03-31") from None
    if day < date.today():
        raise UsageError(f"{until} has passed; an acceptance needs a day to come")
    found = [f for f in find_run(run, store).findings if f.fingerprint == finding]
    if not found:
        raise UsageError(f"run {run} has no finding {finding}; name the run that has: --run RUN")
    worst = max((f.severity for f in found), key=lambda s: s.rank)
    entry = Acceptance(fingerprint=finding, owner=owner, reason=reason, until=day, severity=worst)
    open_store(store).accept(entry)
    if as_json:
        emit(entry.model_dump(mode="json"))
    else:
        typer.echo(f"{finding} ({worst}) is accepted by {owner} until {until}; see: crenel gate")
