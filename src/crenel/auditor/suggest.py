"""What `crenel init` infers: which column is what, and the crenel.toml that says so."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crenel.data.names import words_of
from crenel.errors import UsageError
from crenel.schema import LISTED, Feature, Schema

if TYPE_CHECKING:
    import pandas as pd

_LABELS = ("label", "target", "class", "y", "outcome", "response", "truth", "income", "default")
_SOURCES = ("source", "branch", "vendor", "supplier", "provider", "feed", "origin", "site", "batch")
_IDS = ("id", "uuid", "guid", "key", "rowid", "identifier")


@dataclass(frozen=True)
class Columns:
    """Columns that are not features.

    Attributes
    ----------
    label : str
    source, record_id : str or None
    reason : str
        Why the label is taken to be that column.
    """

    label: str
    source: str | None
    record_id: str | None
    reason: str


def guess_columns(
    frame: pd.DataFrame, features: Sequence[str] | None, classes: Sequence[Any] | None
) -> Columns:
    """Which columns are label, source and record id.

    Parameters
    ----------
    frame : pandas.DataFrame
        The first rows of the training data.
    features : sequence of str or None
        Names that the model was fitted with, where it knows them: no other column is a feature.
    classes : sequence or None
        The model's own labels: a column that holds them is likely the label.

    Raises
    ------
    UsageError
        Where no column can be the label.
    """
    others = [str(c) for c in frame.columns]
    if features is not None:
        others = [c for c in others if c not in set(map(str, features))]
    record_id = next((c for c in others if _is_id(frame, c)), None)
    source = next((c for c in others if set(words_of(c)) & set(_SOURCES) and c != record_id), None)
    rest = [c for c in others if c not in (record_id, source)]
    if not rest:
        raise UsageError("no column of the data can be the label: the model uses all of them")
    label, reason = _label(frame, rest, classes)
    return Columns(label, source if source != label else None, record_id, reason)


def _label(frame: pd.DataFrame, names: list[str], classes: Sequence[Any] | None) -> tuple[str, str]:
    if len(names) == 1:
        return names[0], "the only column that the model does not use"
    if classes is not None:
        told = {str(c) for c in classes}
        holds = [n for n in names if {str(v) for v in frame[n].dropna().unique()} <= told]
        if len(holds) == 1:
            return holds[0], "it holds the model's classes"
        names = holds or names
    for hint in _LABELS:
        named = [n for n in names if hint in words_of(n)]
        if named:
            return named[-1], "by its name"
    return names[-1], "the last column; correct it if that is wrong"


def _is_id(frame: pd.DataFrame, name: str) -> bool:
    return bool(set(words_of(name)) & set(_IDS)) and bool(frame[name].is_unique)


@dataclass(frozen=True)
class Suggestion:
    """What the configuration will say.

    Attributes
    ----------
    name : str
        Of the target.
    model, train, test : str or None
        Paths relative to the configuration.
    columns : Columns or None
        None where the data are not a table and hold their labels themselves.
    schema : Schema
    trust : str or None
        Digest of a model file whose scan is not clean, to be looked at by the user.
    """

    name: str
    model: str | None
    train: str | None
    test: str | None
    columns: Columns | None
    schema: Schema
    trust: str | None = None


def config_text(s: Suggestion) -> str:
    """A commented crenel.toml."""
    lines = ["# Written by crenel init. Everything here was inferred: correct what is wrong.", ""]
    lines.append(f"[target.{_key(s.name)}]")
    if s.model is None:
        lines.append('# model = "model.joblib"')
    else:
        lines.append(f"model = {_text(s.model)}")
    if s.trust:
        lines.append(
            "# The scan of the model file is not clean; see: crenel scan. If you trust it:"
        )
        lines.append(f'# trust = "{s.trust}"')
    if s.train:
        lines.append(f"train = {_text(s.train)}")
    else:
        lines.append('# train = "train.csv"       # what the model was trained on, if you have it')
    if s.test:
        lines.append(f"test = {_text(s.test)}")
    else:
        lines.append(
            '# test = "test.csv"         # rows the model has not seen: most checks need it'
        )
    if s.columns is not None:
        lines += _columns(s.columns)
    lines += _features(s)
    lines += [
        "",
        f"[target.{_key(s.name)}.access]",
        'attacker = "scores"          # weights | gradients | scores | labels | features | base',
        "# queries_per_day = 10000",
        "",
        "[audit]",
        'time = "10m"',
        "seed = 0",
        "",
        "# Limits of your own in place of the built-in policy:",
        "# [[policy.limit]]",
        '# check = "EVA-102"',
        "# budget = 2                 # changed fields",
        "# harm = 0.2                 # share of correct decisions flipped, upper 95 % bound",
        "",
    ]
    return "\n".join(lines)


def _columns(columns: Columns) -> list[str]:
    lines = [f"label = {_text(columns.label)}   # {columns.reason}"]
    for field, value, note in (
        ("source", columns.source, "who supplied the record"),
        ("record_id", columns.record_id, "names records in findings"),
    ):
        lines.append(
            f"{field} = {_text(value)}   # {note}" if value else f'# {field} = "…"   # {note}'
        )
    return lines


def _features(s: Suggestion) -> list[str]:
    lines = ["", f"[target.{_key(s.name)}.features]"]
    for feature in s.schema.features:
        facts = _facts(feature)
        inferred = f"{_key(feature.name)} = {{{facts}}}"
        lines.append(inferred if not feature.mutable else f"# {inferred}")
    return lines


def _facts(feature: Feature) -> str:
    facts = [f'kind = "{feature.kind}"']
    if feature.kind in LISTED and 0 < len(feature.values) <= 8:
        shown = ", ".join(_text(v) for v in feature.values)
        facts.append(f"values = [{shown}]")
    elif feature.min is not None and feature.max is not None:
        facts += [f"min = {feature.min!r}", f"max = {feature.max!r}"]
    if not feature.mutable:
        facts.append("mutable = false")
    if feature.sensitive:
        facts.append("sensitive = true")
    return ", ".join(facts)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if hasattr(value, "item"):
        return _text(value.item())
    return json.dumps(str(value), ensure_ascii=False)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)


def sibling_test(train: Path) -> Path | None:
    """A test file beside the training file: "train" in its name replaced by "test"."""
    for old, new in (("train", "test"), ("Train", "Test"), ("TRAIN", "TEST")):
        other = train.with_name(train.name.replace(old, new))
        if other != train and other.is_file():
            return other
    return None
