"""Progress of an audit on the terminal: one bar, the check at work, the time left."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crenel.auditor.audit import Event, Listener


@contextmanager
def progress(quiet: bool = False) -> Iterator[Listener]:
    """A listener that draws on standard error; lines instead of a bar where it is no terminal.

    Parameters
    ----------
    quiet : bool
        Draw nothing.
    """
    if quiet:
        yield lambda event: None
        return
    if not sys.stderr.isatty():
        yield _say
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        yield _Bar(bar)


def _say(event: Event) -> None:
    if event.kind == "load":
        print(f"loading {event.target}", file=sys.stderr)
    elif event.kind == "refused":
        print(f"crenel: {event.check}", file=sys.stderr)
    elif event.kind == "done" and event.result is not None:
        outcome = event.result.outcome
        reason = f": {outcome.reason}" if outcome.reason else ""
        print(
            f"{event.check} {event.target}: {outcome.outcome.replace('_', ' ')}"
            f" in {outcome.seconds:.1f} s{reason}",
            file=sys.stderr,
        )


class _Bar:
    """Draws events into a rich progress bar."""

    def __init__(self, bar: object) -> None:
        from rich.progress import Progress

        assert isinstance(bar, Progress)
        self.bar = bar
        self.task = bar.add_task("loading", total=None, left="")
        self.done = 0

    def __call__(self, event: Event) -> None:
        if event.kind == "load":
            self.bar.update(self.task, description=f"loading {event.target}")
        elif event.kind == "refused":
            self.bar.console.print(f"crenel: {event.check}", style="red", highlight=False)
        elif event.kind == "plan":
            self.bar.update(self.task, total=event.tasks, completed=0)
            self.done = 0
        elif event.kind in ("start", "progress"):
            left = "" if event.left is None else f"about {event.left:.0f} s planned"
            self.bar.update(
                self.task,
                description=f"{event.check} {event.target}",
                completed=self.done + event.share,
                left=left,
            )
        elif event.kind == "done":
            self.done += 1
            self.bar.update(self.task, completed=self.done)
