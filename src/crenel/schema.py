"""What each feature is, and which changes of it an attacker could really make."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Kind(StrEnum):
    """What the values of a feature mean."""

    CONTINUOUS = "continuous"
    INTEGER = "integer"
    ORDINAL = "ordinal"
    CATEGORY = "category"
    BINARY = "binary"
    TEXT = "text"
    IMAGE = "image"


#: Kinds whose values have an order and a distance.
NUMERIC = frozenset({Kind.CONTINUOUS, Kind.INTEGER, Kind.ORDINAL})
#: Kinds whose legal values are listed in ``Feature.values``.
LISTED = frozenset({Kind.ORDINAL, Kind.CATEGORY, Kind.BINARY})


class Feature(BaseModel):
    """One column of the user's own feature space.

    Parameters
    ----------
    name : str
        Column name.
    kind : Kind
        What the values mean.
    values : tuple
        Legal values, in order, of an ordinal, category or binary feature.
    min, max : float or None
        Legal range of a numeric feature.
    unit : str
        Shown beside values.
    mutable : bool
        Whether an attacker can change it.
    direction : {"any", "up", "down"}
        One-way change: "up" may only grow.
    cost : float
        Cost of changing a category, or of moving a numeric feature by one ``scale``.
    scale : float
        Interquartile range (or standard deviation where that is 0) in the data; 1 for listed kinds.
    step : float or None
        Distance of the legal numbers of a numeric feature, counted from 0: 0.01 for cents. None:
        any number, or any whole one where the feature is an integer.
    missing : bool
        Whether missing values occur and are legal.
    sensitive : bool
        Likely personal or protected.
    protected : tuple of str
        Parts of a text that an attacker must leave as they are: "numbers" (words with digits),
        "urls" (and addresses of mail), "names", or regular expressions.
    synonyms : tuple of tuple of str
        Groups of words, in lower case, that say the same in this text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Kind
    values: tuple[Any, ...] = ()
    min: float | None = None
    max: float | None = None
    unit: str = ""
    mutable: bool = True
    direction: Literal["any", "up", "down"] = "any"
    cost: float = Field(default=1.0, ge=0)
    scale: float = Field(default=1.0, gt=0)
    step: float | None = Field(default=None, gt=0)
    missing: bool = False
    sensitive: bool = False
    protected: tuple[str, ...] = ("numbers", "urls")
    synonyms: tuple[tuple[str, ...], ...] = ()

    @model_validator(mode="after")
    def _range_is_ordered(self) -> Feature:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"feature {self.name}: min {self.min} is above max {self.max}")
        return self


class Schema(BaseModel):
    """All features, in the order of the columns, and the rules between them.

    Parameters
    ----------
    features : tuple of Feature
        In column order.
    constraints : tuple of str or callable
        Row-wise rules that must be true of every legal row: expressions over column names in the
        syntax of ``pandas.DataFrame.eval`` (``"start <= end"``), functions from a frame to one
        truth value for each row, derived columns (``"ratio = a / b"``) and one-hot groups
        (``"one of red, green, blue"``); see `crenel.data.constraints`.
    label, source, record_id : str or None
        Columns that are not features.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    features: tuple[Feature, ...]
    constraints: tuple[str | Callable[[Any], Any], ...] = ()
    label: str | None = None
    source: str | None = None
    record_id: str | None = None

    def __getitem__(self, name: str) -> Feature:
        for feature in self.features:
            if feature.name == name:
                return feature
        raise KeyError(name)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in column order."""
        return tuple(f.name for f in self.features)

    @property
    def mutable(self) -> tuple[Feature, ...]:
        """The features that an attacker can change."""
        return tuple(f for f in self.features if f.mutable)
