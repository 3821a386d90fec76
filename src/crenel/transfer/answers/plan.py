"""How many images each part of the search asks about, within what may be asked in all."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from crenel.check import Level
from crenel.errors import Inconclusive

#: Images that may be asked of a model, by level.
QUERIES: dict[Level, int] = {"quick": 100_000, "standard": 250_000, "deep": 800_000}
#: A grid has at most so many cells a side; a wave at most so many periods a side.
SIDE, PERIODS = 32, 16
#: Share of the area that a searched patch covers, and its fewest cells.
AREA, FEWEST = 0.0125, 4
#: Patches of one fill are tried at every other cell; candidates of a class in one round.
STRIDE, MUTANTS, PAIRS = 2, 6, 8
#: Fills of squares that are the same for all classes, and starts that each class has of its own.
FILLS, STARTS = 4, 4
#: Images that costs are told on, those that a finished trigger is tried on, and that teach.
FRESH, HELD, TAUGHT = 64, 256, 4_000
#: Sizes of finished patches as parts of what was searched; of what is added as multiples of it.
PARTS, MULTIPLES = (0.25, 0.5, 1.0, 2.0), (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
#: Share of the search's rounds that each size of a patch is evolved for, on so many images.
AGAIN, IMAGES = 0.4, 16
#: Classes that are told of at most.
TOLD = 2
#: More classes than this are thinned.
MOST = 20
#: Shares of the whole search that are tried until what is left fits.
SHARES = (1.0, 0.75, 0.55, 0.4, 0.3, 0.2, 0.12)


@dataclass(frozen=True)
class Plan:
    """What is asked, in counts.

    Attributes
    ----------
    images : int
        That every candidate is put on.
    side : int
        Pixels of a side of a cell; a trigger is made of cells.
    grid : tuple of int
        Cells down and across.
    cells : int
        Of a patch.
    periods : int
        Of waves, in either direction.
    patterns : int
        Random patterns over the whole image, each asked with both signs.
    rounds, climbs : int
        Of evolution for patches, of ascent for patterns.
    taught, held : int
        Images that the control learns from, and that finished triggers are tried on.
    classes, known : int
        That are searched, and that the model knows.
    part : float
        Of the whole search.
    """

    images: int
    side: int
    grid: tuple[int, int]
    cells: int
    periods: int
    patterns: int
    rounds: int
    climbs: int
    taught: int
    held: int
    classes: int
    known: int
    part: float = 1.0

    @property
    def queries(self) -> int:
        """Images that the search asks about, the control's lesson and last tries included."""
        h, w = self.grid
        squares = ceil(h / STRIDE) * ceil(w / STRIDE) * FILLS
        waves = 4 * self.waves
        own = self.classes * (STARTS + self.rounds * MUTANTS)
        own += self.classes * self.climbs * (2 * PAIRS + 1)
        each = 2 * h * w + squares + waves + 2 * self.patterns + self.known + own
        told = 3 * self.classes * FRESH + 2 * FRESH
        return self.images * each + told + self.taught + self.last

    @property
    def last(self) -> int:
        """Of what follows: at most `TOLD` classes, and another beside each, sized and tried."""
        made = len(PARTS) * 2 * (self.cells + 1 + round(AGAIN * self.rounds) * MUTANTS)
        shown = 2 * (len(PARTS) + 2 * len(MULTIPLES)) * 2 * self.held
        return TOLD * (IMAGES * made + shown) + 3 * HELD

    @property
    def waves(self) -> int:
        """Waves of up to so many periods, one of each two opposite."""
        p = self.periods
        return ((2 * p + 1) * (2 * p + 1) - 1) // 2


def plan_of(
    shape: tuple[int, ...], classes: int, *, most: int, level: Level, cut: str = ""
) -> Plan:
    """The largest part of the whole search that fits into a number of queries.

    Parameters
    ----------
    shape : tuple of int
        Of an image, (c, h, w).
    classes : int
    most : int
        Queries.
    level : {"quick", "standard", "deep"}
    cut : str
        Why there are no more of them, for the error.

    Raises
    ------
    crenel.errors.Inconclusive
        Where none does.
    """
    h, w = shape[1:]
    for part in SHARES:
        plan = _part(h, w, classes, part, level)
        if plan.queries <= most:
            return plan
    raise Inconclusive(
        f"{cut or f'{most:,} queries are allowed'}: too few; "
        f"the shortest search by answers alone asks {plan.queries:,}"
    )


def _part(h: int, w: int, classes: int, part: float, level: Level) -> Plan:
    more = {"quick": 0.5, "standard": 1.0, "deep": 3.0}[level]
    limit = max(6, round(SIDE * min(1.0, part * 2)))
    side = ceil(max(h, w) / limit)
    grid = (ceil(h / side), ceil(w / side))
    return Plan(
        images=max(5, round(12 * min(1.0, part * 1.5))), side=side, grid=grid,
        cells=max(FEWEST, round(AREA * grid[0] * grid[1])),
        periods=max(2, min(round(PERIODS * min(1.0, part * 2)), h // 2, w // 2)),
        patterns=round(600 * part * more), rounds=round(60 * part * more),
        climbs=round(15 * part * more), taught=round(TAUGHT * min(1.0, part * 2)),
        held=max(64, round(HELD * min(1.0, part * 2))), classes=min(classes, MOST),
        known=classes, part=part,
    )  # fmt: skip
