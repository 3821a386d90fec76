"""``crenel gate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crenel.cli.options import Json, RunName, StoreUrl


def gate(
    run: RunName = "last",
    policy: Annotated[
        Path | None, typer.Option("--policy", help="TOML file with [[policy.limit]] tables.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", help="Run whose findings are known.")
    ] = None,
    store: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """Judge a stored run by a policy: exit 0 pass, 1 fail, 2 incomplete."""
    from crenel.auditor.gate import rejudge
    from crenel.auditor.job import read_policy
    from crenel.cli.options import emit, find_run, open_store

    judged = rejudge(
        find_run(run, store),
        policy=None if policy is None else read_policy(policy),
        accepted=open_store(store).accepted(),
        baseline=find_run(baseline, store).findings if baseline else None,
    )
    if as_json:
        emit(
            {
                "run": judged.run.id,
                "verdict": judged.verdict,
                "policy": judged.policy.model_dump(mode="json"),
            }
        )
    else:
        for judgement in judged.policy.limits:
            typer.echo(
                f"{judgement.status.replace('_', ' '):<15} {judgement.limit.sentence()}: "
                f"{judgement.sentence}"
            )
        typer.echo(judged.policy.sentence)
    raise typer.Exit(judged.verdict.exit_code)
