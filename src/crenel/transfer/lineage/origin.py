"""TRA-105 in steps: the weights of model and base, what is claimed, findings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crenel.check import Measurement
from crenel.errors import CrenelError, NotApplicable, Untrusted
from crenel.finding import Evidence, Example, Finding, Severity
from crenel.subject import Subject
from crenel.transfer.lineage.comparing import compare
from crenel.transfer.lineage.folders import describe
from crenel.transfer.lineage.reading import SUFFIXES, read_weights
from crenel.transfer.lineage.records import Layer, Lineage, Status, Verdict, power
from crenel.transfer.lineage.weights import Weights

#: A layer changed by less, as a share of its norm, is as good as the base's own.
UNTOUCHED = 0.01
#: Share of the model's weights that are the base's own, and how bad that is.
LEVELS = ((0.9, Severity.MEDIUM, 0.1), (0.5, Severity.LOW, 0.03))


def measure_origin(subject: Subject) -> Measurement:
    """Run TRA-105 on a subject with a base.

    Raises
    ------
    NotApplicable
        Where model or base show no weights.
    """
    assert subject.base is not None
    base = _weights(subject.base.model, subject.base.files, subject.trusted, "the base")
    tuned = _weights(subject.model, subject.files, subject.trusted, "the model")
    found = compare(base, tuned)
    claims = _claims(subject.files)
    findings = [f for f in (_origin(found, subject, claims), _untouched(found)) if f]
    findings += list(_misnamed(found, subject.base.origin, claims))
    notes = [found.sentence, *found.notes]
    return Measurement(findings=tuple(findings), notes=tuple(notes))


def _weights(model: Any, files: tuple[Path, ...], trusted: frozenset[str], name: str) -> Weights:
    """Weights of the model in memory, or else of the first file that holds some."""
    reasons: list[str] = []
    if model is not None and not isinstance(model.native, str):  # the URL of an endpoint
        try:
            return read_weights(model.native, name=name)
        except NotApplicable as error:
            reasons.append(str(error))
    for path in files:
        if path.suffix.lower() in SUFFIXES and path.is_file():
            try:
                return read_weights(path, trust=trusted, name=name)
            except Untrusted as error:
                raise NotApplicable(f"{name} is not read: {error}") from error
            except CrenelError as error:
                reasons.append(str(error))
    raise NotApplicable(reasons[0] if reasons else f"{name} shows no weights")


def _claims(files: tuple[Path, ...]) -> tuple[str, ...]:
    """Bases that a configuration or a card beside the model names."""
    folders = dict.fromkeys(p.parent for p in files if p.name in ("config.json", "README.md"))
    told = [d.claims for d in map(describe, folders) if d is not None]
    return tuple(dict.fromkeys(claim for claims in told for claim in claims))


def _origin(found: Lineage, subject: Subject, claims: tuple[str, ...]) -> Finding | None:
    """The finding where weights contradict the origin that is stated."""
    if found.verdict.related:
        return None
    assert subject.base is not None
    stated = _short(subject.base.origin) or "the base that is stated"
    written = bool(subject.base.origin) and any(_same(c, subject.base.origin) for c in claims)
    matched = sum(x.telling and x.cosine is not None for x in found.layers)
    why = (
        f"none of {matched} layers of one shape is more alike than in unrelated models "
        f"(p {power(found.log10_p)})"
        if matched
        else "no layer has the shape of one of the base"
    )
    says = "the model's own card names it, and " if written else ""
    return Finding(
        check="TRA-105",
        risk="transfer",
        severity=Severity.HIGH if written else Severity.MEDIUM,
        subject="base model: origin",
        sentence=f"The weights do not come from {stated}: {says}{why}.",
        attack=(
            "Offer weights of unknown origin under the name of a model that people trust; what "
            "is known of that model, its card and its tests do not hold for them."
        ),
        fix=(
            "Find out where the weights come from (crenel lineage MODEL --base A --base B), and "
            "name that base; if the model was distilled rather than tuned, say so in its card."
        ),
        evidence=Evidence(values=_figures(found)),
        examples=(Example(title="layers", text=table(found.layers)),),
        gain=0.3 if written else 0.1,
    )


def _untouched(found: Lineage) -> Finding | None:
    """The finding where most weights are those of the public base."""
    telling = [x for x in found.layers if x.telling and x.tuned]
    kept = [x for x in telling if x.related and (x.change is None or x.change < UNTOUCHED)]
    total = sum(x.parameters for x in telling)
    share = sum(x.parameters for x in kept) / total if total else 0.0
    whole = found.verdict is Verdict.COPY
    level = next(((s, g) for least, s, g in LEVELS if share >= least), None)
    if level is None:
        return None
    severity, gain = (Severity.HIGH, 0.3) if whole else level
    frozen = sum(x.status is Status.IDENTICAL for x in kept)
    sentence = (
        "The model is the public base itself: whoever downloads it has every weight."
        if whole
        else f"{100 * share:.0f} % of the model's weights are those of the public base: of "
        f"{len(telling)} layers {frozen} are frozen and {len(kept) - frozen} changed by less than "
        f"{100 * UNTOUCHED:.0f} %."
    )
    return Finding(
        check="TRA-105",
        risk="transfer",
        severity=severity,
        subject="base model: untouched layers",
        sentence=sentence,
        attack=(
            "Download the base: its layers are the model's own, so that inputs crafted on the "
            "base alone carry over; TRA-102 measures how many."
        ),
        fix=(
            "Tune all layers, with a penalty for staying near the base's features; then measure "
            "TRA-102 again."
        ),
        evidence=Evidence(values={**_figures(found), "layers": [x.tuned for x in kept][:50]}),
        examples=(Example(title="layers", text=table(found.layers)),),
        gain=gain,
    )


def _misnamed(found: Lineage, origin: str, claims: tuple[str, ...]) -> Iterator[Finding]:
    """The finding where the weights come from the base, and the model's card names another."""
    others = [c for c in claims if not _same(c, origin)]
    if not (found.verdict.related and origin and others) or len(others) < len(claims):
        return
    yield Finding(
        check="TRA-105",
        risk="transfer",
        severity=Severity.MEDIUM,
        subject="base model: name",
        sentence=(
            f"The model's card or configuration names {others[0]} as its base; its weights come "
            f"from {_short(origin)}."
        ),
        attack="Offer a tuned model of one's own under the name of a base that people trust.",
        fix="Find out which of the two names is right, and correct the other.",
        evidence=Evidence(values={**_figures(found), "claims": list(claims[:20])}),
        gain=0.1,
    )


def _short(origin: str) -> str:
    return origin.removeprefix("hub:").partition("@")[0]


def _same(claim: str, origin: str) -> bool:
    """Whether two names mean one model: "org/name", or the name alone."""
    a, b = (_short(x).lower().strip("/").split("/") for x in (claim, origin))
    return a == b or (a[-1] == b[-1] and 1 in (len(a), len(b)))


def _figures(found: Lineage) -> dict[str, Any]:
    told = found.to_json()
    keys = ("verdict", "log10_p", "share", "share_of_base", "frozen", "cosine")
    return {key: told[key] for key in keys}


def table(layers: tuple[Layer, ...], most: int = 40) -> str:
    """Layers that can be evidence, one line each, for a person."""
    telling = [x for x in layers if x.telling]
    lines = [f"{'layer':40} {'shape':>16}  {'status':9} cosine   change  low rank"]
    for x in telling[:most]:
        cosine, change, low = (
            f"{v:.3f}" if v is not None else "–" for v in (x.cosine, x.change, x.low_rank)
        )
        name = x.tuned or x.base
        if x.tuned and x.base and x.base.split(".")[-2:] != x.tuned.split(".")[-2:]:
            name = f"{x.tuned} ← {x.base}"
        shape = "×".join(map(str, x.shape))
        lines.append(
            f"{name[-40:]:40} {shape:>16}  {x.status!s:9} {cosine:>6} {change:>8} {low:>9}"
        )
    if len(telling) > most:
        lines.append(f"and {len(telling) - most} more")
    return "\n".join(lines)
