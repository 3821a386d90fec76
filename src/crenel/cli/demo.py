"""``crenel demo``."""

from __future__ import annotations

from typing import Annotated

import typer

from crenel.cli.options import OUT, Json, Out, StoreUrl


def demo(
    out: Out = OUT,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same figures.")] = 0,
    time: Annotated[str, typer.Option("--time", help="Time for all checks together.")] = "2m",
    store: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """Audit two real models against all five risks; needs no network, takes a minute or two.

    A phishing detector, and a small CNN tuned from a public base, are trained on data that ships
    inside installed packages and written to OUT/demo with a crenel.toml. The verdict does not set
    the exit code.
    """
    from crenel.auditor.audit import run_job
    from crenel.auditor.job import read_job
    from crenel.cli.options import open_store, show, write_reports
    from crenel.cli.progress import progress
    from crenel.demo.write import write

    config = write(out / "demo", seed=seed, time=time)
    job = read_job(config).model_copy(update={"command": f"crenel demo --seed {seed}"})
    with progress() as listener:
        run = run_job(job, store=open_store(store), listener=listener, log=out / "worker.log")
    page = write_reports(run, out)
    show(run, page, as_json)
    if not as_json:
        typer.echo(f"  files     {config.parent}; audit them again: crenel audit {config}")
