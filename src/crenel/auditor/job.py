"""What to measure: targets, settings and policy, from crenel.toml or from Python."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from crenel.check import Level
from crenel.errors import UsageError
from crenel.exposure import Frozen
from crenel.finding import Finding
from crenel.policy import Limit, Policy, default_policy
from crenel.target import Target

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str | float) -> float:
    """Seconds in a duration: ``90``, ``"90s"``, ``"2m"``, ``"1.5h"``.

    Raises
    ------
    UsageError
        Where it is not a positive duration.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", str(text))
    value = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if value <= 0:
        raise UsageError(f"{text!r} is not a duration; write for example 90s, 2m or 1h")
    return value


class Settings(Frozen):
    """The section ``[audit]``.

    Parameters
    ----------
    time : float or None
        Seconds for all checks together; ``"2m"`` is understood. The default is ten minutes.
    seed : int
    checks : tuple of str
        Ids or patterns.
    risks : tuple of str
        Empty: all.
    jobs : int
        Threads at most.
    memory : float
        GiB that one worker process may take; ``"4GB"`` is understood.
    baseline : str
        A run or baseline name whose findings are known.
    level : {"quick", "standard", "deep"}
        How hard attacks try.
    """

    time: float | None = 600.0
    seed: int = Field(default=0, ge=0)
    checks: tuple[str, ...] = ("*",)
    risks: tuple[str, ...] = ()
    jobs: int = Field(default=2, ge=1)
    memory: float = Field(default=8.0, gt=0)
    baseline: str = ""
    level: Level = "standard"

    @field_validator("time", mode="before")
    @classmethod
    def _duration(cls, value: Any) -> Any:
        return None if value is None else seconds(value)

    @field_validator("memory", mode="before")
    @classmethod
    def _gigabytes(cls, value: Any) -> Any:
        if isinstance(value, str):
            return value.upper().removesuffix("B").removesuffix("I").removesuffix("G").strip()
        return value


class Applied(Frozen):
    """A remedy that was applied to a finding before anything is measured."""

    finding: Finding
    remedy: str


class Job(Frozen):
    """One audit to do.

    Parameters
    ----------
    name : str
    targets : tuple of Target
    settings : Settings
    policy : Policy
    root : Path
        What relative paths are relative to.
    command : str
        The line that does it again.
    treatments : tuple of Applied
        Remedies of a hardened run, in their order; empty for an audit.
    """

    name: str
    targets: tuple[Target, ...]
    settings: Settings = Settings()
    policy: Policy = Field(default_factory=default_policy)
    root: Path = Path()
    command: str = ""
    treatments: tuple[Applied, ...] = ()


def read_job(path: Path, **overrides: Any) -> Job:
    """Read crenel.toml, or ``[tool.crenel]`` of a pyproject.toml.

    Parameters
    ----------
    path : Path
        The file, or the folder that holds it.
    **overrides
        Settings given on the command line; None means not given.

    Raises
    ------
    UsageError
        With the file, the place and what is wrong there.
    """
    file, table = _read_toml(path)
    sections = table.pop("target", None)
    if not isinstance(sections, dict) or not sections:
        raise UsageError(f"{file} names no target; begin one with [target.NAME], or: crenel init")
    audit = {**table.pop("audit", {}), **{k: v for k, v in overrides.items() if v is not None}}
    policy = table.pop("policy", None)
    if table:
        raise UsageError(
            f"{file} has an unknown section [{next(iter(table))}]; "
            "known ones are target, audit and policy"
        )
    try:
        targets = tuple(_target(file, name, section) for name, section in sections.items())
        return Job(
            name=", ".join(sections),
            targets=targets,
            settings=Settings.model_validate(audit),
            policy=default_policy() if policy is None else parse_policy(policy, str(file)),
            root=file.parent.resolve(),
        )
    except ValidationError as error:
        raise UsageError(f"{file}: {explain(error)}") from error


def _target(file: Path, name: str, section: Any) -> Target:
    if not isinstance(section, dict):
        raise UsageError(f"{file}: target.{name} is no section; begin it with [target.{name}]")
    try:
        return Target.model_validate({"name": name, **section})
    except UsageError as error:
        raise UsageError(f"{file}: [target.{name}] {error}") from error


def read_policy(path: Path) -> Policy:
    """Read a policy from a TOML file that holds ``[[policy.limit]]`` or ``[[limit]]`` tables."""
    file, table = _read_toml(path)
    try:
        return parse_policy(table.get("policy", table), str(file))
    except ValidationError as error:
        raise UsageError(f"{file}: {explain(error)}") from error


def parse_policy(table: dict[str, Any], name: str) -> Policy:
    """A policy of a ``[policy]`` table with its ``limit`` list."""
    limits = table.get("limit")
    if not isinstance(limits, list) or not limits:
        raise UsageError(f"{name}: the policy has no limits; write [[policy.limit]] tables")
    return Policy(
        name=str(table.get("name", name)), limits=tuple(Limit.model_validate(t) for t in limits)
    )


def explain(error: ValidationError) -> str:
    """The first problem that pydantic found, in one line."""
    first = error.errors()[0]
    place = ".".join(str(p) for p in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def _read_toml(path: Path) -> tuple[Path, dict[str, Any]]:
    file = path
    if path.is_dir():
        names = [path / n for n in ("crenel.toml", "pyproject.toml") if (path / n).is_file()]
        if not names:
            raise UsageError(f"there is no crenel.toml in {path.resolve()}; write one: crenel init")
        file = names[0]
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"there is no file {file}; write one: crenel init") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from error
    if file.name == "pyproject.toml":
        table = table.get("tool", {}).get("crenel", {})
    return file, table
