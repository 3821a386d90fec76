"""``crenel doctor``."""

from __future__ import annotations

from typing import Annotated

import typer

from crenel.cli.options import Json

#: Extra, the package that shows that it is there, what it unlocks.
EXTRAS = (
    ("torch", "torch", "torch models: EVA-101, TRA-102"),
    ("xgboost", "xgboost", "XGBoost models"),
    ("lightgbm", "lightgbm", "LightGBM models"),
    ("catboost", "catboost", "CatBoost models"),
    ("onnx", "onnxruntime", "ONNX models"),
    ("online", "river", "River learners: ONL-101"),
    ("parquet", "pyarrow", "Parquet and Arrow files"),
    ("skops", "skops", "skops model files"),
    ("images", "PIL", "folders of images"),
    ("provenance", "cryptography", "signed manifests of training data"),
    ("archives", "py7zr", "7z, lz4 and zstd in scans"),
    ("sigstore", "sigstore", "signatures by identity, without a key"),
)


def doctor(
    compile: Annotated[
        bool, typer.Option("--compile", help="Compile the kernels now, not at the first audit.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what can run here, and which extra would unlock more."""
    import os
    import sys
    from importlib.util import find_spec

    from crenel.auditor.versions import versions
    from crenel.cli.options import emit
    from crenel.store import default_url

    if compile:
        from crenel.evasion.gradients.warming import warm_up as warm_up_gradients
        from crenel.evasion.trees import warm_up, warm_up_near, warm_up_ranges
        from crenel.poisoning.leftout import warm_up as warm_up_left_out
        from crenel.poisoning.mining.warming import warm_up as warm_up_mining
        from crenel.provenance.sha256 import warm_up as warm_up_digests
        from crenel.scan.skim import warm_up as warm_up_scan

        warm_up()
        warm_up_near()
        warm_up_ranges()
        warm_up_left_out()
        warm_up_digests()
        warm_up_scan()
        warm_up_mining()
        warm_up_gradients()
    extras = [
        {"extra": name, "installed": find_spec(package) is not None, "unlocks": unlocks}
        for name, package, unlocks in EXTRAS
    ]
    facts = {
        "python": sys.version.split()[0],
        "cores": os.cpu_count(),
        "versions": versions(),
        "store": default_url(),
        "extras": extras,
    }
    if as_json:
        emit(facts)
        return
    typer.echo(
        f"python {facts['python']}, {facts['cores']} cores; runs are kept in {facts['store']}"
    )
    for extra in extras:
        name, unlocks = extra["extra"], extra["unlocks"]
        if extra["installed"]:
            typer.echo(f"  yes  {unlocks}")
        else:
            typer.echo(f"  no   {unlocks}; install it: pip install 'crenel[{name}]'")
