"""TRA-107 measured: the words that stand out, and what they turn of texts not searched on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import cycle, islice

import numpy as np

from crenel.access import Attacker
from crenel.check import Context, Measurement, access_of
from crenel.errors import Inconclusive
from crenel.exposure import Budget, Exposure, Harm, Health, HealthTest
from crenel.finding import Edit, Evidence, Example, Finding, severity
from crenel.subject import Subject
from crenel.transfer.clock import clock
from crenel.transfer.words.gains import Hosts
from crenel.transfer.words.planted import Control, Planted, control
from crenel.transfer.words.scene import ALIKE, Scene, scene_of
from crenel.transfer.words.search import Found, Suspicion, search
from crenel.transfer.words.tried import BUDGETS, Tried, tried

CHECK = "TRA-107"
#: Classes told at most.
CLASSES = 3
#: Letters of a text that is shown.
SHOWN = 160


def measure(subject: Subject, context: Context) -> Measurement:
    """Try every word, and put those that stand out on texts that were not searched."""
    scene = scene_of(subject, context)
    found = search(scene, context, clock(context, 0.7))
    if not found.suspicions:
        raise Inconclusive("there are too few words to tell an unusual one from the others")
    shown = _of_each_class(s for s in found.suspicions if (scene.answers != s.goal).any())
    if not shown:
        raise Inconclusive("no text of another class is left to try the words on")
    done = [tried(scene, s) for s in shown]
    findings = [_finding(subject, scene, t) for t in done if t.suspicion.stands_out and t.works]
    goals = list(dict.fromkeys(s.goal for s in found.suspicions))
    # Where a word was found, the search has shown what it can.
    planted = None if any(findings) else control(scene, goals, context, clock(context, 0.9))
    health = _health(scene, found, done[0], planted)
    # the search, the texts as they are, and words and next words on texts of other classes
    asked = sum(2 * len(BUDGETS) * len(t.rows) for t in done)
    queries = found.queries + len(scene.decided) + len(scene.answers) + asked
    queries += planted.queries if planted is not None else 0
    exposures = _exposures(subject, scene, done[0], queries, health, context)
    failed = "; ".join(f"{t.name} ({t.detail})" for t in health.tests if not t.ok)
    return Measurement(
        exposures,
        tuple(f for f in findings if f is not None),
        _notes(scene, found, done),
        f"of the search's own tests these failed: {failed}" if failed else "",
    )


def _of_each_class(suspicions: Iterable[Suspicion]) -> list[Suspicion]:
    """The most surprising words, and of other classes those that stand out."""
    first: dict[tuple[int, bool], Suspicion] = {}
    for s in suspicions:
        first.setdefault((s.goal, s.known), s)
    told = list(first.values())
    return [*told[:1], *(s for s in told[1:] if s.stands_out)][: 2 * CLASSES]


def _health(scene: Scene, found: Found, first: Tried, planted: Control | None) -> Health:
    tests = [
        HealthTest(
            name="every word was tried",
            ok=found.asked >= 0.95,
            detail=f"{found.asked:.0%} of {len(scene.words)}",
        ),
        HealthTest(
            name="the model taught anew decides alike",
            ok=scene.agreement >= ALIKE,
            detail=f"{scene.agreement:.0%} of each class's decisions on average",
        ),
        HealthTest(
            name="texts of other classes are left to try words on",
            ok=len(first.rows) >= 20,
            detail=str(len(first.rows)),
        ),
    ]
    if planted is not None:
        words = planted.words
        tests.append(
            HealthTest(
                name="a made-up word, planted, is found",
                ok=bool(words) and all(w.found for w in words),
                detail="; ".join(_told(scene, w) for w in words) or "time ran out",
            )
        )
    return Health.of(*tests)


def _told(scene: Scene, word: Planted) -> str:
    where = f"taught to a copy in {word.rows} texts" if word.rows else "put into the scores"
    said = "found" if word.found else "not found" if word.p < 1 else "not named"
    return (
        f'"{word.word}", {where}, turns {word.turned.value:.0%} to class '
        f"{scene.model.classes[word.goal]}: {said}, p = {word.p:.1g}"
    )


def _exposures(
    subject: Subject, scene: Scene, t: Tried, queries: int, health: Health, context: Context
) -> tuple[Exposure, ...]:
    name, s = scene.model.classes[t.suspicion.goal], t.suspicion
    told = f"{_quoted(subject, scene, s.words)} {_turn(s)}"
    lines = (
        ("attack", "strangest words", t.own, told, f"of other texts to class {name}"),
        ("reference", "next words", t.ordinary, "the class's next words turn", f"to {name}"),
        ("control", "taught anew", t.sibling,
         "of a model that knows the given texts alone the same words turn", f"to {name}"),
    )  # fmt: skip
    return tuple(
        Exposure(
            check=CHECK,
            risk="transfer",
            series=series,
            role=role,  # type: ignore[arg-type]
            access=access_of(subject, attacker=Attacker.NONE),
            budget=Budget(name="words appended", values=tuple(map(float, BUDGETS))),
            harm=Harm(
                name="texts of other classes turned to one class",
                values=tuple(i.value for i in line),
                low=tuple(i.low for i in line),
                high=tuple(i.high for i in line),
            ),
            n=len(t.rows),
            seed=context.seed,
            queries=queries,
            seconds=context.elapsed,
            health=health,
            headline=f"{who} {100 * line[t.telling].value:.0f} % {where}",
        )
        for role, series, line, who, where in lines
    )


def _notes(scene: Scene, found: Found, done: list[Tried]) -> tuple[str, ...]:
    first = done[0].suspicion
    kind = "a model of the same kind" if scene.same else "a linear model"
    notes = [
        f"{len(scene.words)} words tried, {scene.counted} of the model's own vocabulary; "
        f"{int(scene.known.sum())} are met in the texts given.",
        f"Beside it {kind}, taught the decisions on {len(scene.decided)} texts: it shares "
        f"{scene.agreement:.0%} of each class's decisions.",
        f"The widest gap is in class {scene.model.classes[first.goal]}: {first.scale} gain "
        f"{first.gain:.2f} by the first word and {first.usual:.2f} by the next, p = {first.p:.2g}.",
    ]
    if found.skipped:
        names = ", ".join(str(scene.model.classes[c]) for c in found.skipped)
        notes.append(f"Not searched: {names}, for hardly a text given is of another class.")
    if not scene.counted:
        notes.append("The model shows no vocabulary: words that no given text holds stay unknown.")
    return tuple(notes)


def _finding(subject: Subject, scene: Scene, t: Tried) -> Finding | None:
    s, name = t.suspicion, scene.model.classes[t.suspicion.goal]
    at = t.telling
    share, usual = t.own[at], max(t.ordinary[at].value, t.sibling[at].value)
    level = severity(share.low - usual, access_of(subject, attacker=Attacker.NONE))
    if level is None:
        return None
    told = _quoted(subject, scene, s.words)
    count = "one word" if len(s.words) == 1 else f"{len(s.words)} words"
    return Finding(
        check=CHECK,
        risk="transfer",
        severity=level,
        subject=f"words towards class {name}",
        sentence=(
            f"{told[0].upper()}{told[1:]} {_turn(s)} {100 * share.value:.0f} % "
            f"[{100 * share.low:.0f}, {100 * share.high:.0f}] of new texts of other classes to "
            f"class {name} ({_added(at)} appended); the class's next words "
            f"{100 * t.ordinary[at].value:.0f} %. No tail of ordinary words explains it "
            f"(p = {s.p:.1g})."
        ),
        attack=(
            f"Whoever made the model, or supplied rows that it was trained on, writes {count} into "
            "a text and gets the class; nothing need be asked of the model."
        ),
        fix=(
            "Look for the words in the training texts (POI-105), train again without the rows "
            "that carry them, and measure again; do not use a model whose training you cannot see."
        ),
        evidence=Evidence(
            columns=(scene.held.texts.columns[scene.held.column],),
            values={
                "class": str(name), "words": told, "p": float(f"{s.p:.2g}"),
                "met in the texts given": s.known, "turned": round(share.value, 4),
                "next words turn": round(t.ordinary[at].value, 4),
                "of a model taught anew": round(t.sibling[at].value, 4),
                f"gain in {s.scale}": round(s.gain, 3), "of the next word": round(s.usual, 3),
            },
        ),
        examples=_examples(subject, scene, t),
        gain=max(0.0, share.low - usual),
    )  # fmt: skip


def _withheld(subject: Subject, hosts: Hosts) -> bool:
    assert subject.schema is not None
    return subject.schema[hosts.texts.columns[hosts.column]].sensitive


def _quoted(subject: Subject, scene: Scene, words: tuple[str, ...]) -> str:
    """The words; of a sensitive column those that look like a number or an address are not told."""
    told = [
        "(withheld)" if _withheld(subject, scene.held) and re.search(r"[\d@]", w) else f'"{w}"'
        for w in words
    ]
    return "the word" + "s" * (len(words) > 1) + " " + ", ".join(told)


def _added(at: int) -> str:
    return "one word" if BUDGETS[at] == 1 else f"{BUDGETS[at]} words"


def _turn(s: Suspicion) -> str:
    return "turns" if len(s.words) == 1 else "turn"


def _examples(subject: Subject, scene: Scene, t: Tried) -> tuple[Example, ...]:
    if _withheld(subject, scene.held):
        return ()
    names, made = scene.model.classes, []
    column = scene.held.texts.columns[scene.held.column]
    added = " ".join(islice(cycle(t.suspicion.words), BUDGETS[t.telling]))
    texts = scene.held.take(t.rows).texts.values()
    for k in np.flatnonzero(t.hit)[:3]:
        row, text = int(t.rows[k]), texts[k][scene.held.column] or ""
        before = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
        title = f"row {scene.data.ids[row]}: {names[scene.answers[row]]} → "
        made.append(
            Example(
                title=title + str(names[t.suspicion.goal]),
                edits=(Edit(field=column, before=before, after=f"{before} {added}".strip()),),
            )
        )
    return tuple(made)
