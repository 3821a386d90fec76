"""``crenel provenance bom`` and ``verify-bom``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from crenel.cli.options import Json, StoreUrl

Card = Annotated[
    Path | None, typer.Option("--card", help="Model card; else README.md in the folder.")
]


def bom(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A manifest of data, a model's file or folder.")
    ],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="File to write; else standard output.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the model.")] = "",
    version: Annotated[str, typer.Option("--version", help="Its version.")] = "",
    supplier: Annotated[str, typer.Option("--supplier", help="Who supplies it.")] = "",
    licence: Annotated[
        list[str] | None, typer.Option("--licence", help="Terms, as an SPDX id; else the card's.")
    ] = None,
    task: Annotated[str, typer.Option("--task", help="Else that of card or configuration.")] = "",
    base: Annotated[
        list[Path] | None,
        typer.Option("--base", help="A model it may come from: its weights are compared."),
    ] = None,
    card: Card = None,
    signature: Annotated[
        Path | None, typer.Option("--signature", help="Its signature; else model.sig there.")
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", help="Audit of the model: its figures are listed.")
    ] = None,
    trust: Annotated[
        list[str] | None,
        typer.Option("--trust", help="Digest of a file to read although its scan is not clean."),
    ] = None,
    store: StoreUrl = None,
) -> None:
    """Write a CycloneDX 1.6 bill of materials of a data manifest, or of a model (ML-BOM)."""
    from crenel.errors import UsageError

    if _is_manifest(path):
        given = (name, version, supplier, licence, task, base, card, signature, run, trust)
        if any(given):
            raise UsageError(f"{path} is a manifest of data; it takes no option but --out")
        _write(_of_data(path), out)
        return
    from datetime import UTC, datetime

    from crenel.cli.options import find_run
    from crenel.transfer.bom.described import describe_model
    from crenel.transfer.bom.writing import Stated, to_cyclonedx

    model = describe_model(
        path, name=name, card=card, bases=base or (), signature=signature, trust=trust or ()
    )
    stated = Stated(version, supplier, task, tuple(licence or ()))
    audited = None if run is None else find_run(run, store)
    _write(to_cyclonedx(model, stated, run=audited, made=datetime.now(UTC)), out)
    for note in model.notes:
        typer.echo(f"note: {note}", err=True)


def _is_manifest(path: Path) -> bool:
    """Whether a file is a signed statement, or is meant to be one."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(1 << 16)
    return head.lstrip()[:1] == b"{" and b'"payload"' in head and b"sigstore" not in head


def _of_data(manifest: Path) -> dict[str, Any]:
    from crenel.provenance.cyclonedx import to_cyclonedx
    from crenel.provenance.envelope import read_envelope

    envelope, statement = read_envelope(manifest)
    return to_cyclonedx(statement, envelope)


def _write(document: dict[str, Any], out: Path | None) -> None:
    from crenel.errors import UsageError

    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}") from error
    typer.echo(f"{out} written")


def verify_bom(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A file or a folder.")],
    bom: Annotated[
        Path | None, typer.Option("--bom", help="Else bom.json or *.cdx.json beside it.")
    ] = None,
    card: Card = None,
    as_json: Json = False,
) -> None:
    """Hold a model against its bill of materials. Exit 0 pass, 1 fail, 2 incomplete."""
    from crenel.cli.provenance import finish
    from crenel.transfer.bom.verifying import verify_bom as tests_of

    finish(tests_of(model, bom, card), as_json)
