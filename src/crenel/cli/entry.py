"""The command line as a whole: verbs, errors, exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, cast

import typer

from crenel._version import __version__
from crenel.cli import (
    accept,
    audit,
    bom,
    checks,
    demo,
    diff,
    doctor,
    explain,
    gate,
    harden,
    init,
    lineage,
    provenance,
    report,
    runs,
    scan,
    signing,
)
from crenel.cli.failures import told

USAGE = 64

app = typer.Typer(
    name="crenel",
    help="Audit, harden and guard machine-learning systems against five security risks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing rich would double the time that --help takes
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (
    demo.demo,
    init.init,
    audit.audit,
    scan.scan,
    lineage.lineage,
    harden.harden,
    gate.gate,
    diff.diff,
    accept.accept,
    runs.runs,
    report.report,
    explain.explain,
    checks.checks,
    doctor.doctor,
):
    app.command()(verb)
provenance.provenance.command()(bom.bom)
provenance.provenance.command()(bom.verify_bom)
provenance.provenance.command()(signing.sign_model)
provenance.provenance.command()(signing.verify_model)
app.add_typer(provenance.provenance)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"crenel {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    pass


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Returns
    -------
    int
        The exit code: 0 pass; 1 the policy or scan failed; 2 incomplete or error; 64 usage.
    """
    return told(lambda: _run(list(arguments)))


def _run(arguments: list[str]) -> int:
    # Typer keeps its usage error private, but a bad parameter is one.
    wrong_usage = cast(type[Exception], typer.BadParameter.__mro__[1])
    try:
        return int(app(arguments, prog_name="crenel", standalone_mode=False) or 0)
    except wrong_usage as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # the message is the whole help
            print(error, file=sys.stderr)
            return USAGE
        command = getattr(getattr(error, "ctx", None), "command_path", "crenel")
        print(f"crenel: {str(error).rstrip(chr(46))}; see: {command} --help", file=sys.stderr)
        return USAGE
    except typer.Exit as exit_:
        return int(exit_.exit_code)
    except typer.Abort:
        raise KeyboardInterrupt from None
