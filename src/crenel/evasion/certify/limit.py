"""How long proofs go on: until a time, or for an amount of work that any machine counts alike."""

from __future__ import annotations

import time
from dataclasses import dataclass

#: Multiplications that one layer's call costs beyond those of its numbers: what a small tensor
#: operation takes anyway.
CALL = 5e5


@dataclass
class Meter:
    """Multiplications done so far, the calls of layers among them as `CALL` each."""

    work: float = 0.0

    def count(self, multiplications: float) -> None:
        """One more call of a layer."""
        self.work += CALL + multiplications


@dataclass(frozen=True)
class Limit:
    """When proofs end, whichever comes first.

    Attributes
    ----------
    meter : Meter
        Of the graph that is asked.
    until : float or None
        On `time.monotonic`'s clock.
    work : float or None
        On the meter.
    """

    meter: Meter
    until: float | None = None
    work: float | None = None

    @property
    def reached(self) -> bool:
        """Whether proofs must end."""
        late = self.until is not None and time.monotonic() >= self.until
        return late or (self.work is not None and self.meter.work >= self.work)

    def share(self, part: float) -> Limit:
        """A limit that leaves all but a part of what is left."""
        now, done = time.monotonic(), self.meter.work
        return Limit(
            self.meter,
            None if self.until is None else now + (self.until - now) * part,
            None if self.work is None else done + (self.work - done) * part,
        )
