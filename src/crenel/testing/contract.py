"""`check_check`: run a check against its own controls and the rules of the house."""

from __future__ import annotations

import hashlib
import pickle
import re
from dataclasses import dataclass

from crenel.auditor.execute import Result, execute
from crenel.check import Check
from crenel.run import State
from crenel.subject import CAPABILITIES, Data, Subject


class ContractError(AssertionError):
    """A check breaks the contract; the text says how."""


@dataclass(frozen=True)
class Report:
    """What the controls gave.

    Attributes
    ----------
    weak, sound : Result
    """

    weak: Result
    sound: Result


def check_check(check: Check, *, seconds: float = 60.0, seed: int = 0) -> Report:
    """Prove that a check keeps the contract.

    It must describe itself; be not applicable, rather than fail, where it lacks what it needs;
    find its planted weakness; measure its sound control and stay silent on it; leave its input
    unchanged; give the same figures again from the same seed; and report healthy-or-not with at
    least one health test for every exposure.

    Parameters
    ----------
    check : Check
    seconds : float
        Allotted to each measurement.
    seed : int

    Returns
    -------
    Report
        The results on both controls, for further assertions.

    Raises
    ------
    ContractError
        With the rule that is broken.
    """
    _describes_itself(check)
    _is_not_applicable_to_nothing(check)
    weak_subject = check.controls.weak()
    before = _digest(weak_subject)
    weak = _measured(check, weak_subject, "weak", seconds, seed)
    if not weak.findings:
        raise ContractError(f"{check.id} finds nothing on its weak control")
    if _digest(weak_subject) != before:
        raise ContractError(f"{check.id} changed its input")
    sound = _measured(check, check.controls.sound(), "sound", seconds, seed)
    if sound.findings:
        raise ContractError(
            f"{check.id} raises a false alarm on its sound control: {sound.findings[0].sentence}"
        )
    again = _measured(check, check.controls.weak(), "weak", seconds, seed)
    if _figures(again) != _figures(weak):
        raise ContractError(f"{check.id} gives other figures from the same seed")
    return Report(weak, sound)


def _describes_itself(check: Check) -> None:
    from crenel.references import lookup

    if not re.fullmatch(r"[A-Z]{3}-\d{3}", check.id):
        raise ContractError(f"{check.id!r} is not an id such as EVA-101")
    if len(check.doc) < 100:
        raise ContractError(f"{check.id} has no docstring for its page")
    if not (check.title and check.question.endswith("?")):
        raise ContractError(f"{check.id} needs a title and a question")
    for need in check.needs:
        if need not in CAPABILITIES:
            raise ContractError(f"{check.id} needs {need!r}, which is no capability")
    for key in check.references:
        lookup(key)


def _is_not_applicable_to_nothing(check: Check) -> None:
    result = execute(check, Subject("nothing"))
    if result.outcome.outcome is not State.NOT_APPLICABLE or not result.outcome.reason:
        raise ContractError(f"{check.id} must be not applicable to an empty target")


def _measured(check: Check, subject: Subject, control: str, seconds: float, seed: int) -> Result:
    result = execute(check, subject, seed=seed, seconds=seconds)
    if result.outcome.outcome is not State.MEASURED:
        outcome = result.outcome
        raise ContractError(
            f"{check.id} on its {control} control: {outcome.outcome}: {outcome.reason}"
        )
    for exposure in result.exposures:
        if exposure.role == "attack" and not exposure.health.tests:
            raise ContractError(f"{check.id} gives an exposure without a health test")
        if not exposure.headline:
            raise ContractError(f"{check.id} gives an exposure without a headline")
    if Result.model_validate_json(result.model_dump_json()) != result:
        raise ContractError(f"{check.id} gives a result that does not survive JSON")
    return result


def _figures(result: Result) -> object:
    volatile = {"seconds", "headline"}
    return [e.model_dump(exclude=volatile) for e in result.exposures], [
        f.fingerprint for f in result.findings
    ]


def _digest(subject: Subject) -> str:
    parts: list[Data | None] = [subject.train, subject.test]
    if subject.learning is not None:
        parts.append(subject.learning.stream)
    content = [None if p is None else (p.x, p.y, p.ids, p.source) for p in parts]
    return hashlib.sha256(pickle.dumps(content)).hexdigest()
