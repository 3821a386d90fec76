"""The command. Every verb is a thin module; nothing heavy is imported before a verb runs."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of ``crenel``: errors are one sentence and an exit code, never a traceback."""
    from crenel.cli.scanning import direct

    code = direct(sys.argv[1:])
    if code is None:
        from crenel.cli.entry import run

        code = run(sys.argv[1:])
    sys.exit(code)
