"""A run as an audit of two targets would leave it, for the tests of every format."""

from __future__ import annotations

import base64
import struct
import zlib

from crenel.access import Access
from crenel.exposure import Budget, Exposure, Harm, Health, HealthTest
from crenel.finding import Edit, Evidence, Example, Finding, Severity
from crenel.policy import Limit, Policy, default_policy
from crenel.run import Outcome, Run, RunInfo, TargetPart, TargetRecord
from crenel.statistics import proportion

NASTY = '<script>alert("x")</script>'

OK = Health.of(
    HealthTest(name="unlimited budget reaches full harm", ok=True, detail="1.00 at 30 fields"),
    HealthTest(name="more steps change nothing", ok=True, detail="+0.002 with twice the steps"),
)
BAD = Health.of(
    HealthTest(name="gradients are not masked", ok=False, detail="62 % of gradients are zero"),
    HealthTest(name="loss goes down", ok=True, detail="2.31 to 0.04"),
)


def png(size: int, shade: int) -> str:
    """A small grey square with a bright diagonal, as a data URI."""
    rows = b"".join(
        b"\0" + bytes(255 if x == y else shade for x in range(size)) for y in range(size)
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)
    image = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    image += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(image).decode()


def exposure(
    check: str,
    risk: str,
    budgets: tuple[float, ...],
    harms: tuple[float, ...],
    *,
    n: int = 400,
    target: str = "phishing",
    series: str = "",
    role: str = "attack",
    attacker: str = "scores",
    budget: str = "changed features",
    unit: str = "fields",
    scale: str = "linear",
    harm: str = "correct decisions flipped",
    health: Health = OK,
    headline: str = "changing 2 fields flips 41 % [37, 46] of decisions, in 120 queries",
) -> Exposure:
    """An exposure with binomial intervals."""
    bounds = [proportion(round(h * n), n) for h in harms]
    values = tuple(round(h * n) / n for h in harms)
    return Exposure(
        check=check,
        risk=risk,
        target=target,
        series=series,
        role=role,  # type: ignore[arg-type]
        access=Access(attacker=attacker),  # type: ignore[arg-type]
        budget=Budget(name=budget, unit=unit, values=budgets, scale=scale),  # type: ignore[arg-type]
        harm=Harm(
            name=harm,
            values=values,
            low=tuple(min(b.low, v) for b, v in zip(bounds, values)),
            high=tuple(max(b.high, v) for b, v in zip(bounds, values)),
        ),
        n=n,
        seed=0,
        queries=48_231,
        seconds=6.2,
        health=health,
        headline=headline,
    )


FALSE_ALARMS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
EPS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
SHARES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1)


def exposures() -> tuple[Exposure, ...]:
    """The curves of all risks but those of the checks that did not measure."""
    members = "members identified"
    pixel = {"target": "digits", "budget": "epsilon, L-inf", "unit": "of pixel range"}
    poison = {"budget": "training rows poisoned", "unit": "share", "scale": "log"}
    return (
        exposure(
            "EVA-101",
            "evasion",
            EPS,
            (0.0, 0.08, 0.21, 0.38, 0.66, 0.97, 1.0),
            n=200,
            attacker="gradients",
            series="L-inf",
            health=BAD,
            **pixel,
            headline="an invisible change of 3 % of the pixel range flips at least 38 % [32, 45] "
            "of digits",
        ),
        exposure(
            "EVA-102",
            "evasion",
            (0, 1, 2, 3, 4, 6, 8),
            (0, 0.19, 0.41, 0.63, 0.74, 0.9, 0.97),
            series="search",
        ),
        exposure(
            "EVA-102",
            "evasion",
            (0, 1, 2, 3, 4, 6, 8),
            (0, 0.01, 0.02, 0.05, 0.06, 0.1, 0.13),
            series="random changes",
            role="control",
        ),
        exposure(
            "EVA-102",
            "evasion",
            (10, 30, 100, 300, 1000),
            (0.05, 0.14, 0.38, 0.6, 0.66),
            budget="queries",
            unit="",
            scale="log",
            series="search",
            headline="half of the flips need fewer than 120 queries",
        ),
        exposure(
            "POI-102",
            "poisoning",
            SHARES,
            (0.0, 0.02, 0.11, 0.48, 0.83, 0.97),
            harm="target decisions turned",
            attacker="data",
            series="trigger",
            **poison,
            headline="90 planted rows of 9,000 turn 48 % [43, 53] of target decisions",
        ),
        exposure(
            "POI-102",
            "poisoning",
            SHARES,
            (0.0, 0.0, 0.01, 0.02, 0.05, 0.18),
            harm="target decisions turned",
            attacker="data",
            series="random flips",
            **poison,
        ),
        exposure(
            "ONL-101",
            "online",
            (0, 5, 10, 20, 34, 50, 100),
            (0, 0, 0.02, 0.1, 0.52, 0.8, 1.0),
            n=100,
            attacker="data",
            budget="samples in one burst",
            unit="samples",
            harm="protected decisions turned",
            headline="a burst of 34 samples turns half of the protected decisions; below 10 "
            "it heals",
        ),
        exposure(
            "ONL-101",
            "online",
            (0, 5, 10, 20, 34, 50, 100),
            (0, 0, 0, 0.01, 0.0, 0.01, 0.01),
            n=100,
            attacker="data",
            budget="samples in one burst",
            unit="samples",
            harm="protected decisions turned",
            series="clean stream",
            role="control",
        ),
        exposure(
            "TRA-102",
            "transfer",
            EPS,
            (0.0, 0.01, 0.03, 0.06, 0.14, 0.4, 0.63),
            n=2000,
            attacker="base",
            series="base only",
            headline="the public base model alone flips 6 % [5.1, 7.1] of digits at epsilon 0.03",
            **pixel,
        ),
        exposure(
            "TRA-102",
            "transfer",
            EPS,
            (0.0, 0.08, 0.21, 0.38, 0.66, 0.97, 1.0),
            n=2000,
            attacker="gradients",
            series="white box",
            role="reference",
            **pixel,
        ),
        *(
            exposure(
                "CON-101",
                "confidentiality",
                FALSE_ALARMS,
                harms,
                n=3000,
                target=target,
                budget="false-alarm rate",
                unit="share",
                scale="log",
                harm=members,
                headline=line,
                series="likelihood ratio",
            )
            for target, harms, line in (
                (
                    "phishing",
                    (0.012, 0.02, 0.047, 0.1, 0.24, 0.48, 1.0),
                    "4.7 % [4, 5.5] of members identified at 1 % false alarms",
                ),
                (
                    "digits",
                    (0.002, 0.004, 0.012, 0.035, 0.11, 0.31, 1.0),
                    "1.2 % [0.9, 1.7] of members identified at 1 % false alarms",
                ),
            )
        ),
    )


def before() -> tuple[Exposure, ...]:
    """The curve of an earlier run."""
    return (
        exposure(
            "CON-101",
            "confidentiality",
            FALSE_ALARMS,
            (0.09, 0.13, 0.21, 0.33, 0.5, 0.72, 1.0),
            n=3000,
            budget="false-alarm rate",
            unit="share",
            scale="log",
            harm="members identified",
            series="likelihood ratio",
        ),
    )


def findings() -> tuple[Finding, ...]:
    """Weaknesses of both targets, one of them accepted, one with hostile names."""
    fields = ("ip_in_url", "https", "anchor_from_other_domain", "age_of_domain")
    edits = tuple(
        Edit(field=f, before=b, after=a)
        for f, b, a in zip(fields, ("1", "-1", "1", "0"), ("-1", "1", "0", "1"))
    )
    return (
        Finding(
            check="EVA-102",
            risk="evasion",
            target="phishing",
            severity=Severity.HIGH,
            subject="columns https, anchor_from_other_domain",
            gain=0.39,
            sentence="two fields that the sender of a page controls decide 41 % of verdicts",
            attack="Change https and anchor_from_other_domain of a page that was caught, ask the "
            "model again, and keep the change that lowers its score; 120 queries are enough.",
            fix="Limit what one field can add to the score, or train on such changed rows; then "
            "measure again with an attacker who knows of it.",
            evidence=Evidence(
                rows=tuple(range(17, 17 + 240)),
                columns=fields,
                values={"queries, median": 120, "flipped": 0.41, "auc": 0.97123456},
            ),
            examples=(
                Example(title="row 4217: phishing → legitimate, 118 queries", edits=edits[:2]),
                Example(title="row 88: phishing → legitimate, 64 queries", edits=edits[1:]),
                Example(title="row 912: phishing → legitimate, 301 queries", edits=edits),
                Example(title="row 1: a fourth example is not shown", edits=edits),
            ),
            remedies=("monotone-constraints",),
        ),
        Finding(
            check="EVA-101",
            risk="evasion",
            target="digits",
            severity=Severity.MEDIUM,
            subject="class 8",
            gain=0.3,
            sentence="eights turn into threes with a change of 3 %",
            attack="Follow the gradient of the margin.",
            fix="Train on adversarial examples.",
            examples=(
                Example(title="image 31: 8 → 3", images=(png(16, 30), png(16, 60), png(16, 200))),
            ),
        ),
        Finding(
            check="POI-101",
            risk="poisoning",
            target="phishing",
            severity=Severity.CRITICAL,
            subject=f"source {NASTY}",
            gain=0.12,
            sentence=f"184 rows of source {NASTY} carry labels that the other rows contradict",
            attack=f"Supply rows through {NASTY} with the label turned.",
            fix="Quarantine the rows and train again.",
            evidence=Evidence(
                rows=(NASTY, 4, 5),
                columns=(NASTY,),
                files=(f"data/{NASTY}.csv",),
                values={NASTY: NASTY},
            ),
            examples=(
                Example(title=NASTY, edits=(Edit(field=NASTY, before=NASTY, after="b" * 300),)),
                Example(title="as text", text=f"label {NASTY}\nlooks like: " + "legitimate " * 30),
                Example(title="bad image", images=(f"javascript:{NASTY}", "data:image/svg+xml,x")),
            ),
            remedies=("quarantine-labels",),
        ),
        Finding(
            check="TRA-101",
            risk="transfer",
            target="digits",
            severity=Severity.LOW,
            subject="file base.pt",
            gain=0.01,
            sentence="the base model's file has no signature",
            fix="Sign it.",
            evidence=Evidence(files=("models/base.pt",)),
            status="accepted",
        ),
    )


def outcomes() -> tuple[Outcome, ...]:
    """Every state that an outcome can have."""

    def made(check: str, risk: str, target: str, title: str, seconds: float = 3.0) -> Outcome:
        return Outcome(
            check=check,
            risk=risk,
            target=target,
            title=title,
            outcome="measured",  # type: ignore[arg-type]
            seconds=seconds,
        )

    def undone(check: str, risk: str, target: str, title: str, state: str, why: str) -> Outcome:
        return Outcome(
            check=check,
            risk=risk,
            target=target,
            title=title,
            outcome=state,
            reason=why,  # type: ignore[arg-type]
        )

    return (
        made("EVA-101", "evasion", "digits", "White-box gradient robustness", 9.4),
        undone(
            "EVA-101",
            "evasion",
            "phishing",
            "White-box gradient robustness",
            "not_applicable",
            "the model gives no gradients (it is not a torch module)",
        ),
        made("EVA-102", "evasion", "phishing", "Black-box search in the feature space", 12.0),
        made("POI-101", "poisoning", "phishing", "Wrong labels"),
        made("POI-102", "poisoning", "phishing", "Dose-response of poisoned rows", 21.0),
        undone(
            "POI-103",
            "poisoning",
            "phishing",
            "Weakness by source",
            "error",
            "the model could not be trained without source branch-7: ValueError: one class only",
        ),
        made("ONL-101", "online", "phishing", "What it takes to turn a behaviour", 8.0),
        made("TRA-101", "transfer", "digits", "Static scan of the model file", 0.02),
        made("TRA-102", "transfer", "digits", "Public base as surrogate", 4.0),
        made("CON-101", "confidentiality", "phishing", "Membership inference", 16.0),
        made("CON-101", "confidentiality", "digits", "Membership inference", 11.0),
        undone(
            "CON-102",
            "confidentiality",
            "phishing",
            "Model extraction",
            "not_run",
            "left out to keep within 90 s",
        ),
        undone(
            "CON-103",
            "confidentiality",
            "digits",
            "Personal data in the columns",
            "not_applicable",
            "the data is not a table",
        ),
    )


def policy() -> Policy:
    """The default limits and one that a user wrote."""
    own = Limit(check="CON-101", budget=0.001, harm=0.02)
    return Policy(name="demo", limits=(*default_policy().limits, own))


def run(**changes: object) -> Run:
    """The whole run."""
    info = RunInfo(
        id="7c1f0a4be21d",
        status="complete",
        created="2026-03-01T10:12:00+00:00",
        finished="2026-03-01T10:14:14+00:00",
        seconds=134.2,
        seed=0,
        command="crenel audit crenel.toml --seed 0",
        versions={"crenel": "0.1.0", "python": "3.11.9", "numpy": "2.4.0", "scikit-learn": "1.9.1"},
        digests={
            "phishing train": "sha256:" + "3fa1" * 16,
            "digits model": "sha256:" + "9b02" * 16,
        },
        time_limit=90.0,
        before="51aa00c3d9e2",
        treatment={
            "id": "capacity-limit",
            "title": "Limit the capacity",
            "sentence": "depth limited to 3 and the model trained again: members identified at "
            "1 % false alarms fall from 21 % to 4.7 %, accuracy rises by 0.6 points",
            "values": {"accuracy_before": 0.951, "accuracy_after": 0.957},
            "files": ["model.joblib"],
        },
    )
    target = TargetRecord(
        name="demo",
        parts=(
            TargetPart(
                name="phishing",
                model="HistGradientBoostingClassifier in a Pipeline",
                framework="sklearn",
                task="classification",
                classes=("legitimate", "phishing"),
                train_rows=8291,
                test_rows=2764,
                accuracy=0.951,
                access={"attacker": "scores", "sentence": "sees scores"},
            ),
            TargetPart(
                name="digits",
                model="Sequential",
                framework="torch",
                task="classification",
                classes=tuple("0123456789"),
                train_rows=1200,
                test_rows=597,
                accuracy=0.978,
                access={"attacker": "gradients", "sentence": "can compute gradients"},
                notes=("the base model was trained on digits 0 to 4",),
            ),
        ),
    )
    parts: dict[str, object] = {
        "run": info,
        "target": target,
        "outcomes": outcomes(),
        "exposures": exposures(),
        "findings": findings(),
        "policy": policy(),
        "before": before(),
    }
    return Run.judged(**{**parts, **changes})  # type: ignore[arg-type]
