"""``crenel harden``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crenel.cli.options import Json, RunName, StoreUrl


def harden(
    run: RunName = "last",
    finding: Annotated[
        str | None, typer.Option("--finding", help="Fingerprint; else what gains most.")
    ] = None,
    remedy: Annotated[str | None, typer.Option("--remedy", help="Which of its remedies.")] = None,
    review: Annotated[
        Path | None,
        typer.Option("--review", help="Quarantine table (CSV, Parquet) with your decisions."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Measure every check again, for a whole verdict.")
    ] = False,
    out: Annotated[Path, typer.Option("--out", help="Folder for report and artefacts.")] = Path(
        "crenel-out/hardened"
    ),
    store: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """Apply a remedy to a finding, write the new artefacts, and measure again."""
    from crenel.auditor.harden import choose
    from crenel.auditor.harden import harden as apply
    from crenel.auditor.job import Job
    from crenel.auditor.partial import stored_run
    from crenel.cli.options import open_store, show, write_reports
    from crenel.cli.progress import progress
    from crenel.errors import UsageError

    kept = open_store(store)
    run_id = kept.find(run)
    earlier, text = stored_run(kept, run_id), kept.job(run_id)
    if not text:
        raise UsageError(
            f"run {run_id} was made from Python objects; name a run that crenel audit made"
        )
    chosen = choose(earlier, finding)
    with progress() as listener:
        hardened = apply(
            earlier,
            Job.model_validate_json(text),
            finding=chosen,
            remedy=remedy,
            everything=everything,
            review=review,
            out=out,
            store=kept,
            listener=listener,
            log=out / "worker.log",
        )
    show(hardened, write_reports(hardened, out), as_json)
    raise typer.Exit(hardened.verdict.exit_code)
