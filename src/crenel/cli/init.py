"""``crenel init``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crenel.cli.options import Json


def init(
    model: Annotated[Path | None, typer.Argument(help="The model file.")] = None,
    data: Annotated[
        Path | None, typer.Argument(help="The training data: a table, NPZ, or a folder of images.")
    ] = None,
    test: Annotated[Path | None, typer.Option("--test", help="Data it has not seen.")] = None,
    label: Annotated[str | None, typer.Option("--label", help="The label's column.")] = None,
    out: Annotated[Path, typer.Option("--out", help="File to write.")] = Path("crenel.toml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite it.")] = False,
    as_json: Json = False,
) -> None:
    """Write crenel.toml from what is seen in a model file and its data.

    Of a model from elsewhere, whose training data nobody has, --test alone is enough.
    """
    from crenel.auditor.init import suggest
    from crenel.auditor.suggest import config_text
    from crenel.cli.options import emit
    from crenel.errors import UsageError

    if model is not None and data is None and model.suffix.lower() in (".csv", ".parquet", ".npz"):
        model, data = None, model
    if data is None and test is None:
        raise UsageError(
            "name the training data (crenel init model.joblib train.csv) or, of a model from "
            "elsewhere, data to test it on (crenel init model.joblib --test test.csv)"
        )
    if out.exists() and not force:
        raise UsageError(f"{out} exists; overwrite it with --force, or name another with --out")
    suggestion = suggest(model, data, test=test, label=label, folder=out.parent)
    text = config_text(suggestion)
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}") from error
    if as_json:
        columns = suggestion.columns
        emit({"written": str(out), "label": None if columns is None else columns.label})
        return
    columns, schema = suggestion.columns, suggestion.schema
    where = "with the data" if columns is None else f"{columns.label} ({columns.reason})"
    count = f"{len(schema.names)} feature" + "s" * (len(schema.names) != 1)
    typer.echo(f"{out} written: label {where}, {count}")
    fixed = [f.name for f in schema.features if not f.mutable]
    if fixed:
        typer.echo(f"taken as beyond the attacker's reach: {', '.join(fixed)}")
    if suggestion.trust:
        typer.echo(f"the scan of {model} is not clean; see: crenel scan {model}")
    typer.echo("next: crenel audit")
