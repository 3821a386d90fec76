"""The command. Every verb is a thin module; nothing heavy is imported before a verb runs."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of ``crenel``: errors are one sentence and an exit code, never a traceback."""
    from crenel.cli.entry import run

    sys.exit(run(sys.argv[1:]))
