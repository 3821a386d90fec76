"""The errors that crenel raises on purpose, each one sentence that says what to do.

::

    CrenelError
    ├── UsageError         the command or crenel.toml is wrong          exit 64
    │   └── MissingExtra   an optional dependency is not installed      exit 64
    ├── SubjectError       the data or the model cannot be audited      exit 2
    │   └── Untrusted      an artefact was not loaded: its scan is not clean
    ├── NotApplicable      a check has nothing to measure here          (an outcome)
    └── Inconclusive       a check ran and cannot answer                (an outcome)
"""

from __future__ import annotations


class CrenelError(Exception):
    """Base of every error raised on purpose; ``exit_code`` is what the command returns."""

    exit_code = 2


class UsageError(CrenelError):
    """The command line or the configuration is wrong, and the user can mend it."""

    exit_code = 64


class MissingExtra(UsageError):
    """An optional dependency is needed.

    Parameters
    ----------
    package : str
        What could not be imported.
    extra : str
        The extra of crenel that brings it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; run: pip install 'crenel[{extra}]'")
        self.package = package
        self.extra = extra


class SubjectError(CrenelError):
    """The data or the model cannot be audited as it is."""


class Untrusted(SubjectError):
    """A file was not loaded because its scan is not clean and its digest is not trusted."""


class NotApplicable(CrenelError):
    """Raised by a check that has nothing to measure on this target; the text is the reason."""


class Inconclusive(CrenelError):
    """Raised by a check that ran but cannot answer; the text is the reason."""


class CrenelWarning(UserWarning):
    """A warning that a user should read; crenel raises no other kind."""
