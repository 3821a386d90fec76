"""Edited texts as a person reads them: the edits marked, the invisible ones spelt out."""

from __future__ import annotations

from collections.abc import Sequence

from crenel.evasion.text.confusables import FOLD, hidden
from crenel.evasion.text.documents import Change, Document
from crenel.finding import Edit
from crenel.schema import Feature

#: Tokens shown on either side of an edit, and characters shown in all.
AROUND, LONGEST = 8, 400


def spelt(word: str) -> str:
    """A word with the code points of what does not show, or looks like something else."""
    if not word:
        return "(deleted)"
    return "".join(f"{'' if hidden(c) else c}⟨U+{ord(c):04X}⟩" if _odd(c) else c for c in word)


def _odd(character: str) -> bool:
    return not character.isascii() and (hidden(character) or ord(character) in FOLD)


def edits_of(
    document: Document, changes: Sequence[Change], features: Sequence[Feature]
) -> tuple[Edit, ...]:
    """Each edited word, before and after; withheld where its column is sensitive."""
    found = []
    for position, new, _ in changes:
        j = max(k for k, start in enumerate(document.starts) if start <= position)
        word = 1 + sum(p in document.words for p in range(document.starts[j], position))
        before, after = document.tokens[position], spelt(new)
        if features[j].sensitive:
            before, after = "(withheld)", "(changed)" if new else "(deleted)"
        found.append(Edit(field=f"{features[j].name}, word {word}", before=before, after=after))
    return tuple(found)


def marked(document: Document, changes: Sequence[Change], features: Sequence[Feature]) -> str:
    """The surroundings of the edits, each as ``[before → after]``; empty where any is sensitive."""
    if any(f.sensitive for f in features):
        return ""
    new = {p: spelt(r) for p, r, _ in changes}
    near = {q for p in new for q in range(p - AROUND, p + AROUND + 1)}
    parts, gap = [], False
    for q, token in enumerate(document.tokens):
        if q not in near:
            gap = True
            continue
        parts.append(("… " if gap else "") + (f"[{token} → {new[q]}]" if q in new else token))
        gap = False
    text = "".join(parts) + (" …" if gap else "")
    return text if len(text) <= LONGEST else text[: LONGEST - 2] + " …"
