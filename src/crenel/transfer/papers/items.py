"""The lines of the checklist of TRA-103, and the facts that it is held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from crenel.finding import Severity
from crenel.provenance.published import Lookup
from crenel.transfer.artefact import Artefact
from crenel.transfer.bom.reading import Bom
from crenel.transfer.lookalikes import Names
from crenel.transfer.papers.vouching import Vouched


class State(StrEnum):
    """What became of one item."""

    PRESENT = "present"
    MISSING = "missing"
    CONTRADICTED = "contradicted"


@dataclass(frozen=True)
class Item:
    """One line of the checklist.

    Attributes
    ----------
    name : str
        Canonical: "licence", "digest".
    state : State
    detail : str
        One sentence about this base model, in lower case and without a full stop.
    fix : str
        What to do where it is not present.
    severity : Severity
        Where it is missing.
    wrong : Severity
        Where it is contradicted.
    """

    name: str
    state: State
    detail: str
    fix: str
    severity: Severity
    wrong: Severity = Severity.HIGH


@dataclass(frozen=True)
class Facts:
    """What is known of the base model beside its card.

    Attributes
    ----------
    origin : str
    digests : dict of str to str
        SHA-256 of its files, by file name.
    task : str
        "classification" or "regression", where the model is loaded; else empty.
    classes : int or None
        Of the model's output.
    accuracy, test_accuracy : (value, low, high) or None
        Measured on the base's public data, and on the target's test rows.
    shape : tuple of int
        Of one row that the model takes; empty where none is known.
    sizes : dict of (height, width) to bool
        Whether the model takes images of the sizes that the card names.
    artefact : Artefact
        What the files show.
    licence_text : str
        Of a licence file beside the card or the files.
    vouched : Vouched or None
        What came of verifying the publisher's signature; None where none is given.
    published : Lookup or None
        What the user's list of published models says of the files; None where none is given.
    names : Names or None
        Known names that origins are held against; those that come with the library where None.
    bom : Bom or None
        A bill of materials beside the files.
    bom_faults : tuple of str
        What is wrong with it: it cannot be read, or files are not those that it lists.
    """

    origin: str = ""
    digests: dict[str, str] | None = None
    task: str = ""
    classes: int | None = None
    accuracy: tuple[float, float, float] | None = None
    test_accuracy: tuple[float, float, float] | None = None
    shape: tuple[int, ...] = ()
    sizes: Mapping[tuple[int, int], bool] = field(default_factory=dict)
    artefact: Artefact = Artefact()
    licence_text: str = ""
    vouched: Vouched | None = None
    published: Lookup | None = None
    names: Names | None = None
    bom: Bom | None = None
    bom_faults: tuple[str, ...] = ()

    @property
    def signed(self) -> bool:
        """Whether somebody who is trusted signed the files."""
        return self.vouched is not None and self.vouched.valid is True

    @property
    def recognised(self) -> bool:
        """Whether every file is one of the published ones on the user's list."""
        found = self.published
        if found is None or found.contradictions or found.unlisted:
            return False
        return bool(found.matches)
