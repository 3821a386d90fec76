"""``crenel audit``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crenel.cli.options import OUT, Json, Out, StoreUrl

if TYPE_CHECKING:
    from crenel.auditor.job import Job


def audit(
    config: Annotated[
        Path, typer.Argument(help="crenel.toml, or the folder that holds it.")
    ] = Path(),
    out: Out = OUT,
    check: Annotated[
        list[str] | None, typer.Option("--check", help="Only these checks: ids or patterns.")
    ] = None,
    risk: Annotated[list[str] | None, typer.Option("--risk", help="Only these risks.")] = None,
    time: Annotated[
        str | None, typer.Option("--time", help="Time for all checks together: 90s, 2m, 1h.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Same seed, same figures.")] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", help="Threads at most.")] = None,
    level: Annotated[
        str | None, typer.Option("--level", help="How hard attacks try: quick, standard, deep.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", help="A policy in place of the configured one.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", help="Run whose findings are known.")
    ] = None,
    resume: Annotated[
        str | None, typer.Option("--resume", help="Continue this interrupted run ('last').")
    ] = None,
    store: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """Measure how much harm an attacker could do: plan, measure, judge, report."""
    from crenel.auditor.audit import run_job
    from crenel.auditor.job import Job, read_job, read_policy
    from crenel.cli.options import open_store, show, write_reports
    from crenel.cli.progress import progress
    from crenel.errors import UsageError

    kept = open_store(store)
    run_id = None
    if resume is not None:
        run_id = kept.find(resume)
        text = kept.job(run_id)
        if not text:
            raise UsageError(f"run {run_id} was made from Python objects and cannot be resumed")
        job = Job.model_validate_json(text)
        if job.treatments:
            raise UsageError(f"run {run_id} is a hardened one; repeat it: crenel harden")
        if time is not None:
            from crenel.auditor.job import seconds

            settings = job.settings.model_copy(update={"time": seconds(time)})
            job = job.model_copy(update={"settings": settings})
    else:
        job = read_job(
            config,
            checks=check,
            risks=risk,
            time=time,
            seed=seed,
            jobs=jobs,
            level=level,
            baseline=baseline,
        )
        if policy is not None:
            job = job.model_copy(update={"policy": read_policy(policy)})
        job = job.model_copy(update={"command": _command(config, out, job)})
    with progress() as listener:
        run = run_job(job, store=kept, listener=listener, resume=run_id, log=out / "worker.log")
    page = write_reports(run, out)
    show(run, page, as_json)
    raise typer.Exit(run.verdict.exit_code)


def _command(config: Path, out: Path, job: Job) -> str:
    """The line that measures the same again; the policy is in the record."""
    settings = job.settings
    words = ["crenel", "audit", str(config), "--seed", str(settings.seed)]
    words += ["--time", f"{settings.time:g}s"] if settings.time is not None else []
    words += ["--level", settings.level] if settings.level != "standard" else []
    words += [w for c in settings.checks if c != "*" for w in ("--check", c)]
    words += [w for r in settings.risks for w in ("--risk", r)]
    return shlex.join(words if out == OUT else [*words, "--out", str(out)])
