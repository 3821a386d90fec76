"""The trust policy: who may supply rows, signed by which key, how many, on which terms."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crenel.errors import UsageError
from crenel.provenance.keys import keyid_of, read_public
from crenel.provenance.manifest import Manifest, Source
from crenel.provenance.outcome import Test


class SourceRule(BaseModel):
    """A ``[[source]]`` table.

    Parameters
    ----------
    name : str
        The source, or a pattern (``vendor-*``); the first rule that fits counts.
    keys : tuple of str
        Public keys, paths from the policy's folder; one of them must have signed.
    share : float
        Most of all rows that each such source may have supplied, in (0, 1].
    licences : tuple of str
        Terms that are accepted; empty: any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    keys: tuple[str, ...] = Field(min_length=1)
    share: float = Field(default=1.0, gt=0, le=1)
    licences: tuple[str, ...] = ()


class GateRule(BaseModel):
    """The ``[gate]`` table: limits for incoming batches.

    Parameters
    ----------
    conflicts : float or None
        Most rows of the batch, as a share, whose content stands in the trusted snapshot, or
        elsewhere in the batch, with another label. None: no more than in the trusted snapshot
        itself, beyond chance.
    duplicates : float
        Most rows, as a share, that stand in the trusted snapshot already, or twice in the batch.
    label_shift : float
        Most total variation distance between a source's labels and those it is compared with,
        unless chance explains it.
    significance : float
        Probability of one false alarm or more in the comparison of labels, over all sources.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    conflicts: float | None = Field(default=None, ge=0, le=1)
    duplicates: float = Field(default=1.0, ge=0, le=1)
    label_shift: float = Field(default=0.1, ge=0, le=1)
    significance: float = Field(default=0.01, gt=0, lt=1)


class TrustFile(BaseModel):
    """The policy as it stands in its file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: tuple[SourceRule, ...] = ()
    gate: GateRule = GateRule()


@dataclass(frozen=True)
class Trust:
    """A policy with its keys read.

    Attributes
    ----------
    rules : tuple of (SourceRule, frozenset of key ids)
    keys : tuple
        All public keys.
    gate : GateRule
    """

    rules: tuple[tuple[SourceRule, frozenset[str]], ...]
    keys: tuple[Any, ...]
    gate: GateRule = GateRule()

    def rule_of(self, source: str) -> tuple[SourceRule | None, frozenset[str]]:
        """The first rule that fits a source, and its key ids; None where none does."""
        fitting = (r for r in self.rules if fnmatchcase(source, r[0].name))
        return next(fitting, (None, frozenset()))

    def without_shares(self) -> Trust:
        """The same policy with every share allowed."""
        rules = tuple((rule.model_copy(update={"share": 1.0}), keys) for rule, keys in self.rules)
        return replace(self, rules=rules)


def read_trust(path: Path) -> Trust:
    """Read a trust policy and the keys that it names.

    Raises
    ------
    UsageError
        Where the file or a key cannot be read.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        policy = TrustFile.model_validate(table)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"])
        raise UsageError(f"{path}: {place}: {first['msg']}") from error
    rules, keys = [], {}
    for rule in policy.source:
        read = [read_public(path.parent / name) for name in rule.keys]
        keys.update({keyid_of(key): key for key in read})
        rules.append((rule, frozenset(keyid_of(key) for key in read)))
    return Trust(tuple(rules), tuple(keys.values()), policy.gate)


def judge_sources(
    manifest: Manifest, signers: set[str], trust: Trust, *, signed_for_all: bool = False
) -> list[Test]:
    """Judge each source of a manifest by the policy: key, share, licence.

    Parameters
    ----------
    manifest : Manifest
    signers : set of str
        Ids of the trusted keys that signed.
    trust : Trust
    signed_for_all : bool
        Whether a key signed that is trusted for any source.
    """
    sources = manifest.predicate.sources
    total = sum(s.rows for s in sources)
    tests = []
    for source in sources:
        shown = repr(source.name) if source.name else "a source without a name"
        rule, keys = trust.rule_of(source.name)
        if rule is None:
            tests.append(
                Test(f"source {source.name}", False, f"{shown} is not in the trust policy")
            )
            continue
        faults = _faults(source, total, rule, signed_for_all or bool(keys & signers))
        said = f"{shown} is trusted: {source.rows:,} of {total:,} rows"
        tests.append(
            Test(
                f"source {source.name}",
                not faults,
                f"{shown} {'; '.join(faults)}" if faults else said,
            )
        )
    return tests


def share_faults(source: str, rows: int, total: int, trust: Trust) -> str:
    """What is wrong with a source's share of all rows; "" where nothing is."""
    rule, _ = trust.rule_of(source)
    if rule is None:
        return "the trust policy does not name it"
    if total and rows > rule.share * total:
        return f"the policy allows {rule.share:.1%}"
    return ""


def _faults(source: Source, total: int, rule: SourceRule, signed: bool) -> Sequence[str]:
    faults = []
    if not signed:
        faults.append("is not signed for by a key that the policy names for it")
    if total and source.rows > rule.share * total:
        share = f"{source.rows / total:.1%}"
        faults.append(f"supplied {share} of the rows; the policy allows {rule.share:.1%}")
    if rule.licences and source.licence not in rule.licences:
        faults.append(f"has the licence {source.licence or '(none)'!r}, which is not accepted")
    return faults
