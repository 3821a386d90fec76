"""The checks of risk 5: CON-101 membership, CON-102 extraction, CON-103 personal data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crenel.access import Attacker
from crenel.check import Context, Controls, Cost, Measurement, Risk, access_of, check
from crenel.confidentiality import controls
from crenel.errors import Inconclusive, NotApplicable
from crenel.finding import Evidence, Example, Finding, severity
from crenel.subject import Subject

if TYPE_CHECKING:
    from crenel.access import Access
    from crenel.confidentiality.copying import Theft
    from crenel.confidentiality.honing import Turned
    from crenel.confidentiality.members import Audit
    from crenel.confidentiality.scanner import ColumnHit

#: Record ids listed in a finding, at most.
LISTED = 200
#: Rows whose decisions are turned with and without the stolen copy.
TURNED = 60


@check(
    "CON-101",
    risk=Risk.CONFIDENTIALITY,
    title="Membership inference",
    question="Which training records can be recognised by the model's answers?",
    needs=("model", "scores", "fit", "train", "test", "classification"),
    cost=Cost(seconds=2.0, queries=400_000, fits=8.0, least=0.3),
    references=("AML.T0024.000", "NISTAML.033", "ML04:2023", "AIA:15(5)", "BIML:raw:1"),
    controls=Controls(weak=controls.memorising, sound=controls.regularised),
)
def membership_inference(subject: Subject, context: Context) -> Measurement:
    """Recognise training records by comparing the model with shadows of it.

    What is measured: the share of the training records that an attacker who sees scores
    identifies, against the share of other records that are taken for training records by mistake
    (the ROC curve), with Clopper-Pearson intervals; the area under it with DeLong's interval; the
    most exposed records by id.

    How: the model's own training is repeated on random halves of all train and test rows and on
    the other halves, so that every record is inside one shadow of each pair and outside the
    other. Two scores compare the audited model's answer with both worlds: the pair ratio (RMIA,
    Zarifzadeh et al., 2024) and the likelihood ratio (LiRA, Carlini et al., 2022) with variances
    shrunk over records (Smyth, 2004) and predictive densities. Whichever is stronger on the
    shadows themselves is reported as the attack, the other as reference.

    The attacker has data of the same distribution and, as is usual in audits, holds the candidate
    records themselves: the worst case. Test rows that equal a train row are left out.

    Health: shadows show the model's own train-test gap in accuracy; a shadow that saw half of
    both must not tell train from test rows (else they differ for other reasons than membership);
    the same attack recognises the members of a forest that memorises coin flips.

    Limits: with n non-members no false-alarm rate below 1 / n is measured, and nothing is
    interpolated. Shadows are trained on half of the records, the audited model on more. Rates are
    over records, not per person.
    """
    from crenel.confidentiality import members

    assert subject.model is not None
    assert subject.train is not None
    assert subject.test is not None
    if min(len(subject.train), len(subject.test)) < 20:
        raise Inconclusive("fewer than 20 train or test rows: no false-alarm rate can be measured")
    pool = members.make_pool(subject.train, subject.test, context.rng("pool"))
    found = members.audit(subject.model, pool, context)
    access = access_of(subject, attacker=Attacker.SCORES)
    exposures = tuple(members.exposure_of(found, name, access, context) for name in found.scores)
    return Measurement(exposures, _membership_findings(found, access), _membership_notes(found))


def _membership_findings(found: Audit, access: Access) -> tuple[Finding, ...]:
    from crenel.confidentiality import members

    points = members.reference_points(*found.sides(found.best))
    # Above what false alarms alone explain, both at the conservative ends of their intervals.
    effects = [max(0.0, p.identified.low - p.alarms.high) for p in points]
    level = severity(max(effects), access)
    if level is None:
        return ()
    exposed = found.exposed(points[0].rate)
    area = found.area(found.best)
    return (
        Finding(
            check=members.CHECK,
            risk=Risk.CONFIDENTIALITY,
            severity=level,
            subject="training records",
            sentence=members.headline(points[0], area),
            attack=(
                "train a few models of the same kind on similar data, with and without a candidate "
                "record, and compare the model's score of the record with theirs"
            ),
            fix=(
                "limit the model's capacity, which often costs no accuracy; train with "
                "differential privacy; leave out or coarsen the most exposed records"
            ),
            evidence=Evidence(
                rows=tuple(found.pool.ids[exposed[:LISTED]].tolist()),
                values={
                    "auc": area.value,
                    "identified": {f"{p.rate:g}": p.identified.value for p in points},
                    "precision_at_prior_0.1": _precision(points[0], 0.1),
                    "precision_at_prior_0.01": _precision(points[0], 0.01),
                    "exposed": len(exposed),
                    "scores": [round(float(s), 4) for s in found.scores[found.best][exposed[:20]]],
                    "shadows": len(found.shadows),
                },
            ),
            examples=_membership_examples(found),
            remedies=("limit-capacity",),
            gain=max(effects),
        ),
    )


def _precision(point: Any, prior: float) -> float:
    """Share of the records called members that are, where this share of all candidates is."""
    hits, alarms = prior * point.identified.value, (1 - prior) * point.alarms.value
    return round(hits / (hits + alarms), 4) if hits + alarms else 0.0


def _membership_examples(found: Audit) -> tuple[Example, ...]:
    """The three most exposed records: the model's answer beside those of the shadows."""
    import numpy as np

    order = np.argsort(np.where(found.pool.member, -found.scores[found.best], np.inf))[:3]
    inside, p = found.shadows.inside, found.shadows.p
    return tuple(
        Example(
            title=f"record {found.pool.ids[i]}",
            text=(
                "probability of its own label\n"
                f"  this model             {found.p[i]:.3f}\n"
                f"  trained on the record  {p[inside[:, i], i].mean():.3f}\n"
                f"  trained without it     {p[~inside[:, i], i].mean():.3f}"
            ),
        )
        for i in order.tolist()
    )


def _membership_notes(found: Audit) -> tuple[str, ...]:
    others = int((~found.pool.member).sum())
    notes = [
        f"{len(found.shadows)} shadow models, each trained on half of {len(found.pool.y):,} records"
    ]
    if others < 1000:
        notes.append(
            f"{others} non-members measure false-alarm rates from {100 / others:.2g} % only; "
            "0.1 % needs 1,000"
        )
    if found.pool.duplicates:
        notes.append(f"{found.pool.duplicates:,} test rows equal a train row and were left out")
    return tuple(notes)


@check(
    "CON-102",
    risk=Risk.CONFIDENTIALITY,
    title="Model extraction",
    question="How good a copy do queries buy, and does it make evasion cheaper?",
    needs=("model", "classification", "test"),
    cost=Cost(seconds=8.0, queries=50_000, least=0.3),
    references=("AML.T0024.002", "NISTAML.031", "ML05:2023", "AIA:15(5)"),
    controls=Controls(weak=controls.linear, sound=controls.hashing),
)
def model_extraction(subject: Subject, context: Context) -> Measurement:
    """Copy the model by its answers, then attack it by way of the copy.

    What is measured: the share of held-out decisions that the copy has in common with the model
    (Wilson interval), against the number of queries (Tramèr et al., 2016; Orekondy et al., 2019);
    and, for tables, how many queries a turned decision costs with and without the copy
    (Papernot et al., 2017).

    How: the attacker has half of the test rows (2,000 at most) and makes more by recombining
    their columns, or by mixing images; the answers, scores or decisions as the access says, train
    boosted trees and a linear model (a small network for arrays), of which the one that agrees
    better with held-back answers is kept. The other half of the test rows is for comparison only.
    Then changes of at most three fields that turn the decision are searched on the copy, and the
    model is asked about those alone, beside the same search on the model itself.

    Health: more queries make no worse a copy; a simple model on the same rows is copied.

    Limits: 10,000 queries at most, or a day's where the access limits them. Agreement is on data
    like the test rows. A better attacker may choose queries by what the copy is unsure of.
    """
    from crenel.confidentiality import copying

    assert subject.model is not None
    assert subject.test is not None
    if len(subject.test) < 40:
        raise Inconclusive("fewer than 40 test rows: half copy the model, half are for comparison")
    labels_only = subject.model.score is None or subject.access.attacker is Attacker.LABELS
    access = access_of(subject, attacker=Attacker.LABELS if labels_only else Attacker.SCORES)
    most = min(access.queries_per_day or copying.BUDGETS[-1], copying.BUDGETS[-1])
    theft = copying.steal(
        subject.model,
        subject.test.x,
        context,
        schema=subject.schema,
        labels_only=labels_only,
        budgets=[b for b in copying.BUDGETS if b <= most] or [most],
    )
    health = copying.extraction_health(theft, subject.test.x, context)
    exposures = [copying.exposure_of(theft, access, health, context)]
    notes, turned = [], None
    if theft.budgets[-1] < most:
        notes.append(f"stopped at {theft.budgets[-1]:,} of {most:,} queries")
    if subject.test.is_table and subject.schema is not None and not context.expired:
        turned = _turn(subject, theft, context, labels_only)
        from crenel.confidentiality.honing import honing_exposures

        exposures += honing_exposures(*turned, access, health, context)
    else:
        notes.append("what the copy saves in turning decisions is measured on tables, within time")
    return Measurement(tuple(exposures), _extraction_findings(theft, turned, access), tuple(notes))


def _turn(
    subject: Subject, theft: Theft, context: Context, labels_only: bool
) -> tuple[Turned, Turned]:
    """The same decisions turned without and with the copy."""
    import numpy as np

    from crenel.confidentiality.honing import turn_by_copy, turn_directly
    from crenel.subject import take_rows

    assert subject.model is not None
    assert subject.test is not None
    assert subject.schema is not None
    x = take_rows(theft.held_out, np.arange(min(TURNED, len(theft.held_out))))
    rest = take_rows(theft.held_out, np.arange(len(x), len(theft.held_out)))
    reference = rest if len(rest) >= 50 else theft.held_out
    direct = turn_directly(subject.model, x, reference, subject.schema, context, labels_only)
    x = take_rows(x, np.arange(len(direct.first)))
    honed = turn_by_copy(subject.model, theft.surrogate, x, reference, subject.schema, context)
    return direct, honed


def _extraction_findings(
    theft: Theft, turned: tuple[Turned, Turned] | None, access: Access
) -> tuple[Finding, ...]:
    import math

    from crenel.confidentiality.copying import CHECK

    # A copy is a means rather than the end: half the weight at 1 query, a tenth at 10,000.
    cheap = [0.5 * (1 - math.log10(b) / 5) for b in theft.budgets]
    scores = [theft.gain(i) * cheap[i] for i in range(len(cheap))]
    i = max(range(len(scores)), key=scores.__getitem__)
    level = severity(theft.gain(i), access, cheap[i])
    if level is None:
        return ()
    share = theft.agreement[i]
    values: dict[str, Any] = {"queries": theft.budgets[i], "agreement": share.value}
    sentence = (
        f"{theft.budgets[i]:,} queries buy a copy that decides {100 * share.value:.0f} % "
        f"[{100 * share.low:.0f}, {100 * share.high:.0f}] of cases as the model does"
    )
    if turned is not None:
        direct, honed = turned
        values |= {"flips_by_copy": honed.flips, "flips_directly": direct.flips}
        if honed.flips and direct.flips:
            values |= {"queries_per_flip": honed.cost, "queries_per_flip_directly": direct.cost}
            sentence += (
                f"; with it a decision is turned for {honed.cost:.1f} queries rather than "
                f"{direct.cost:.0f}"
            )
    return (
        Finding(
            check=CHECK,
            risk=Risk.CONFIDENTIALITY,
            severity=level,
            subject="the model's decisions",
            sentence=sentence,
            attack=(
                "send realistic rows, record the answers, train a model of one's own on them; "
                "search for adversarial changes on the copy, unseen, and use those that work"
            ),
            fix=(
                "limit queries for each client and watch for unusual spreads of them; answer "
                "decisions instead of scores, or rounded ones; sign contracts that forbid copying"
            ),
            evidence=Evidence(values=values),
            gain=theft.gain(i) * cheap[i],
        ),
    )


@check(
    "CON-103",
    risk=Risk.CONFIDENTIALITY,
    title="Personal data in training columns",
    question="Which columns hold data that names a person, or secrets?",
    needs=("train", "table"),
    cost=Cost(seconds=2.0, least=0.2),
    references=("AML.T0024.001", "NISTAML.032", "ML03:2023", "AIA:10", "BIML:raw:1"),
    controls=Controls(weak=controls.contacts, sound=controls.clean_table),
)
def personal_data(subject: Subject, context: Context) -> Measurement:
    """Scan the training columns for personal data and secrets.

    What is found: e-mail addresses, phone numbers, IBANs, payment cards, IP addresses, national
    identity numbers (US, UK, DE, FR, ES, NL, PL, IT), dates of birth, names of persons, postal
    addresses, keys and tokens: how many rows of which column hold them, with Wilson intervals.

    How: distinct values are searched by regular expressions and each match is validated (check
    digits, ranges, lengths). Shapes that arbitrary numbers take too count only where the column's
    name, a word just before, or a share of valid ones far above chance speaks for them. Names,
    addresses and dates of birth rest on the column's name, in several languages, and on the look
    of most of its values.

    Health: an invented value of each kind, planted among values of the table, must be found, and
    every column must be reached in time, or the check is inconclusive.

    Limits: names and addresses in free text are not looked for. Examples are masked; rows are
    given by id, 200 at most for each column.
    """
    from crenel.confidentiality.scanner import missed, scan_column

    assert subject.train is not None
    frame = subject.train.x
    if not len(frame.columns):
        raise NotApplicable("the training data has no columns")
    with context.untimed():  # what it imports at its first use may take longer than the columns
        unseen = missed([str(v) for v in frame.iloc[:20].to_numpy().ravel()[:200]])
    if unseen:
        raise Inconclusive(f"the scan misses planted values: {', '.join(unseen)}")
    findings: list[Finding] = []
    done = 0
    for j, name in enumerate(frame.columns):
        if j and context.expired:
            break
        hits = scan_column(name, frame.iloc[:, j])
        findings += [f for hit in hits if (f := _personal_finding(hit, subject)) is not None]
        done = j + 1
        context.progress(done / len(frame.columns))
    every = len(frame.columns)
    notes = (f"{done} of {every} columns, {len(frame):,} rows",)
    late = f"time allowed {done} of {every} columns; give more with --time" if done < every else ""
    return Measurement(findings=tuple(findings), notes=notes, partial=late)


def _personal_finding(hit: ColumnHit, subject: Subject) -> Finding | None:
    from crenel.confidentiality.patterns import DEFAULT_WEIGHT, TITLES, WEIGHTS

    assert subject.train is not None
    weight = WEIGHTS.get(hit.entity, DEFAULT_WEIGHT)
    # One value is a breach already; a whole column of them is the worst.
    effect = weight * (0.25 + 0.75 * hit.share.low)
    level = severity(effect, access_of(subject, attacker=Attacker.DATA))
    if level is None:
        return None
    rows = subject.train.names(hit.rows[:LISTED])
    return Finding(
        check="CON-103",
        risk=Risk.CONFIDENTIALITY,
        severity=level,
        subject=f"{TITLES[hit.entity]} in column {hit.column}",
        sentence=(
            f"column {hit.column} holds {TITLES[hit.entity]} in {len(hit.rows):,} of "
            f"{len(subject.train):,} training rows"
        ),
        attack=(
            "whoever gets the training file reads them; a model that memorises, or stores rows as "
            "nearest neighbours and text vocabularies do, gives them away too"
        ),
        fix="drop the column or replace its values by keyed digests before training",
        evidence=Evidence(
            rows=rows,
            columns=(str(hit.column),),
            values={
                "count": len(hit.rows),
                "share": hit.share.value,
                "share_low": hit.share.low,
                "share_high": hit.share.high,
                "why": hit.why,
            },
        ),
        examples=tuple(Example(title="masked", text=text) for text in hit.masked),
        gain=effect,
    )
