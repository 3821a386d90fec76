"""What the readers of formats share while one file is scanned."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import PurePath

from crenel.scan.policy import Policy
from crenel.scan.source import Budget, Unreadable, Window
from crenel.scan.verdict import Reason, Report, Verdict

Reader = Callable[[Window, "Context"], str]

#: Where our own code lies, whatever the folders above it are called.
PACKAGE = PurePath(__file__).parents[1]


def alone(name: str) -> bool:
    """Tell that nothing lies beside bytes that came without a folder."""
    return False


def unexpected(error: Exception) -> str:
    """Say that reading failed, of which kind the error is and where it was raised."""
    if isinstance(error, OSError):
        return f"It cannot be read to its end: {error.strerror or error}."
    lines = [(f.f_code.co_filename, n) for f, n in traceback.walk_tb(error.__traceback__)]
    own = [(PurePath(file).name, n) for file, n in lines if PACKAGE in PurePath(file).parents]
    place = f" in {own[-1][0]}:{own[-1][1]}" if own else ""
    detail = f": {error}"[:200] if str(error) else ""
    return (
        f"The scanner failed on it, so it was not read to its end; please report this defect: "
        f"{type(error).__name__}{place}{detail}"
    )


@dataclass(frozen=True)
class Context:
    """The scan that is going on.

    Parameters
    ----------
    report : Report
        Receives the reasons.
    policy : Policy
        The allowlist and the hostile names.
    budget : Budget
        What may still be spent.
    name : str
        File or member name; it may raise suspicion but never lowers a verdict.
    dispatch : callable
        Recognises bytes by their content, reads them and returns the name of their format.
    member : str, optional
        Path inside the archives, joined by ``!``.
    depth : int
        Archives around these bytes.
    beside : callable
        Tells whether a file of a relative name lies in the same folder or archive.
    """

    report: Report
    policy: Policy
    budget: Budget
    name: str
    dispatch: Reader
    member: str | None = None
    depth: int = 0
    beside: Callable[[str], bool] = alone

    def add(
        self,
        code: str,
        sentence: str,
        verdict: Verdict,
        offset: int | None = None,
        call: str | None = None,
    ) -> None:
        """Report a reason at this place."""
        self.report.add(Reason(code, sentence, verdict, offset, call, self.member))

    def inside(self, name: str, members: Collection[str] = ()) -> Context:
        """Return the context of a member; raise Unreadable where archives nest too deep.

        Parameters
        ----------
        name : str
            The member's.
        members : collection of str
            Names of all members, so that the member's reader knows what lies beside it.
        """
        if self.depth >= self.budget.depth:
            raise Unreadable("Archives are nested too deep to read on.", "over-budget")
        self.budget.spend_member()
        path = name if self.member is None else f"{self.member}!{name}"
        folder = name.rpartition("/")[0]
        prefix = f"{folder}/" if folder else ""

        def beside(other: str) -> bool:
            return prefix + other in members

        return replace(self, name=name, member=path, depth=self.depth + 1, beside=beside)

    def guarded(self, reader: Reader, window: Window) -> str:
        """Run a reader; whatever ends it becomes a reason. Returns the format's name."""
        try:
            return reader(window, self)
        except Exception as error:  # noqa: BLE001 - a defect of one reader is no clean file
            self.failed(error)
            return ""

    def failed(self, error: Exception) -> None:
        """Report what ended a reader: damage that it told, or a defect of its own."""
        if isinstance(error, Unreadable):
            self.add(error.code, error.sentence, Verdict.UNREADABLE, error.offset)
        else:
            self.add("failed", unexpected(error), Verdict.UNREADABLE)
