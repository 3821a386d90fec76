"""What EVA-105 reports: one weakness for each kind of edits, with edited texts as examples."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.curves import percent, within
from crenel.evasion.text.showing import edits_of, marked
from crenel.finding import Evidence, Example, Finding, severity

if TYPE_CHECKING:
    from crenel.evasion.text.report import Attacked

#: How cheap 1, 2, 3, 5 and 10 edits are, as a factor of severity: nobody sees invisible ones.
CHEAPNESS = {
    "invisible characters": (1.0, 1.0, 0.9, 0.8, 0.6),
    "typos": (1.0, 0.8, 0.6, 0.4, 0.2),
    "words": (1.0, 0.8, 0.6, 0.4, 0.2),
}
ATTACK = {
    "invisible characters": "Put characters without width into, or letters of other scripts that "
    "look the same in place of, the words that weigh most; leaving out one word at a time shows "
    "which they are.",
    "typos": "Mistype the words that weigh most (swap, drop, double or split); leaving out one "
    "word at a time shows which they are.",
    "words": "Replace the words that weigh most by words of the same surroundings, leave them "
    "out, or add common words of the other kind of text.",
}
FIX = {
    "invisible characters": "Normalise texts before the model sees them, in training and in use: "
    "NFKC, look-alikes folded, characters without width removed; refuse words of mixed scripts.",
    "typos": "Correct the spelling before the model sees a text, use runs of characters besides "
    "words, and train with mistyped copies.",
    "words": "Let no few words decide: stronger penalties, training with words left out and "
    "replaced, evidence other than the text; and limit queries.",
}
REMEDIES: dict[str, tuple[str, ...]] = {"invisible characters": ("normalise-text",)}
WHAT = {
    "invisible characters": ("One invisible character flips", "{} invisible characters flip"),
    "typos": ("One typing error flips", "{} typing errors flip"),
    "words": ("One changed word flips", "{} changed words flip"),
}


def findings(a: Attacked) -> list[Finding]:
    """A finding for each series whose harm is worth one."""
    made = [_finding(a, series) for series in a.found]
    return [f for f in made if f is not None]


def _finding(a: Attacked, series: str) -> Finding | None:
    from crenel.evasion.text.report import CHECK, EDITS

    shares = within(a.found[series].edits, EDITS)
    weighed = [s.low * c for s, c in zip(shares, CHEAPNESS[series])]
    k = int(np.argmax(weighed))
    level = severity(shares[k].low, a.access, CHEAPNESS[series][k])
    if level is None:
        return None
    hit = a.found[series].flipped & (a.found[series].edits <= EDITS[k])
    one, many = WHAT[series]
    what = one if k == 0 else "Up to " + many.format(EDITS[k])
    return Finding(
        check=CHECK, risk="evasion", severity=level, subject=f"texts under {series}",
        sentence=f"{what} {percent(shares[k])} of correct decisions; {_worst(a, hit)}",
        attack=f"{ATTACK[series]} The median text falls after "
        f"{np.median(a.found[series].first[hit]):.0f} queries.",
        fix=FIX[series], remedies=REMEDIES.get(series, ()),
        evidence=Evidence(
            rows=a.data.names(np.flatnonzero(hit)[:20]), columns=tuple(a.texts.columns),
            values=_values(a, series, hit, EDITS),
        ),
        examples=_examples(a, series, hit), gain=shares[k].low,
    )  # fmt: skip


def _worst(a: Attacked, hit: NDArray[np.bool_]) -> str:
    """Which decisions fall most, in words."""
    share = {k: float(hit[a.data.y == k].mean()) for k in np.unique(a.data.y)}
    worst = max(share, key=lambda k: share[k])
    return f"{str(a.model.classes[worst])!r} decisions most often ({100 * share[worst]:.0f} %)"


def _values(
    a: Attacked, series: str, hit: NDArray[np.bool_], edits: tuple[int, ...]
) -> dict[str, Any]:
    shares = within(a.found[series].edits, edits)
    values: dict[str, Any] = {f"flipped by {e}": round(s.value, 4) for e, s in zip(edits, shares)}
    if not any(f.sensitive for f in a.texts.features):
        words = Counter(
            a.documents[i].tokens[p].lower()
            for i in np.flatnonzero(hit) for p, _, _ in a.found[series].changes[i]
        )  # fmt: skip
        often = [w for w, n in words.most_common(8) if n > 1]
        if often:
            values["words edited most"] = ", ".join(often)
    return values


def _examples(a: Attacked, series: str, hit: NDArray[np.bool_]) -> tuple[Example, ...]:
    """The three texts that fall to the fewest edits."""
    found = a.found[series]
    rows = np.flatnonzero(hit)
    rows = rows[np.lexsort([found.share[rows], found.edits[rows]])][:3]
    made = []
    decided = a.model.predict(
        a.texts.render(rows, [a.documents[i].render(found.changes[i]) for i in rows])
    )
    for i, new in zip(rows, decided):
        turned = f"{a.model.classes[a.data.y[i]]!s} → {a.model.classes[new]!s}"
        n = int(found.edits[i])
        made.append(Example(
            title=f"row {a.data.ids[i]}: {turned}, {n} edit{'s' if n > 1 else ''}, "
            f"{found.first[i]:.0f} queries",
            edits=edits_of(a.documents[i], found.changes[i], a.texts.features),
            text=marked(a.documents[i], found.changes[i], a.texts.features),
        ))  # fmt: skip
    return tuple(made)
