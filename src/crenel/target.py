"""What is audited, as the user declares it: the sections of crenel.toml, or Python objects."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    field_validator,
)

from crenel.access import Access
from crenel.errors import UsageError


class Section(BaseModel):
    """A table of crenel.toml: frozen, and an unknown key is an error that names the nearest."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    def __init__(self, **data: Any) -> None:
        where = type(self).__name__.lower().removesuffix("section")
        known = list(type(self).model_fields)
        for key in data:
            if key not in known:
                near = get_close_matches(key, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
                raise UsageError(f"{where}: unknown key {key!r}; {hint}")
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise UsageError(f"{where}: {first_error(error)}") from error


class LearningSection(Section):
    """``[target.NAME.learning]``: a model that keeps learning.

    Parameters
    ----------
    learner : str or callable
        Returns a fresh incremental learner: ``module:function``, a function or a class.
    stream : path, frame or tuple
        Samples in the order of their arrival, with the label of the target.
    samples_per_day : int or None
    protect : tuple of str
        ``"row:17"``, ``"slice:age>60"``.
    """

    learner: Any
    stream: Any
    samples_per_day: int | None = None
    protect: tuple[str, ...] = ()


class BaseSection(Section):
    """``[target.NAME.base]``: the public model that the audited one was tuned from.

    Parameters
    ----------
    model, build, classes, trust
        As of `Target`.
    files : tuple of str
        Further files of the base model, for the scan.
    origin : str
        ``hub:org/name@revision``.
    card : path or None
        Its model card.
    data : path, frame or tuple
        Public data like the base model's own.
    signature : path or None
        The publisher's signature (OpenSSF Model Signing).
    signer : path, dict or None
        Whose it must be: a public key, certificates, or for a signature through Sigstore a
        table with ``identity``, ``identity_provider`` and perhaps ``trust_root``, a path.
    known : path or None
        List of published models with the SHA-256 of their files: JSON, or lines of ``sha256sum``.
    others : list of path or object, or of mapping
        Further models that an attacker may have in the place of the base: look-alikes, or other
        candidates where the true one is not known; ``{model = "b.pt", build = "module:function"}``
        where one has another architecture than the base.
    """

    model: Any = None
    build: Any = None
    classes: Any = None
    trust: tuple[str, ...] = ()
    files: tuple[Any, ...] = ()
    origin: str = ""
    card: Any = None
    data: Any = None
    signature: Any = None
    signer: Any = None
    known: Any = None
    others: tuple[Any, ...] = ()

    @field_validator("trust", "files", "others", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return as_tuple(value)


class ArtefactsSection(Section):
    """``[target.NAME.artefacts]``: further files that belong to the model.

    Parameters
    ----------
    paths : tuple of str
        Files and folders.
    """

    paths: tuple[Any, ...] = ()

    @field_validator("paths", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return as_tuple(value)


class ImagesSection(Section):
    """``[target.NAME.images]``: what images the model takes, where none are given.

    Parameters
    ----------
    shape : tuple of int
        Of one image, as the model takes it: ``[3, 32, 32]``; channels may come last or not at all.
    range : (float, float)
        Least and greatest number.
    """

    shape: tuple[PositiveInt, ...] = Field(min_length=2, max_length=3)
    range: tuple[float, float] = (0.0, 1.0)

    @field_validator("range")
    @classmethod
    def _rising(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not value[0] < value[1]:
            raise ValueError("the least number must be below the greatest: range = [0, 1]")
        return value


class Target(Section):
    """What is audited. Every section is optional; what is absent makes some checks not applicable.

    Parameters
    ----------
    name : str
    model : str, path or object
        A file, ``module:function``, the URL of an endpoint, or the model itself: an estimator, a
        booster, a torch module, an ONNX session, or a function from rows to labels or scores.
    build : str or callable
        Returns the untrained torch module for a file of weights.
    classes : sequence
        The labels in the order of the model's scores, where the model does not know them.
    task : {"classification", "regression"} or None
        Inferred where absent.
    trust : str or tuple of str
        Digests ``sha256:…`` of files that are loaded although their scan is not clean.
    fit : str or callable
        ``fit(x, y, seed)`` returns a model of the same kind; estimators are cloned without it.
    train, test : path, frame or tuple (X, y)
        Labelled rows.
    label, source, record_id : str
        Columns of the tables that are not features.
    features : mapping
        Corrections of the inferred schema: ``{"age": {"mutable": False}}``.
    constraints : tuple of str or callable
        Row-wise rules: ``"start <= end"``, ``module:function`` or a function from a frame to
        one truth value for each row, ``"ratio = a / b"``, ``"one of red, green, blue"``.
    access : Access or mapping
        What the attacker has.
    learning, base, artefacts, images : mapping
        See `LearningSection`, `BaseSection`, `ArtefactsSection`, `ImagesSection`.
    endpoint : mapping
        Settings of an HTTP endpoint; see `crenel.adapters.http.Endpoint`.

    Raises
    ------
    UsageError
        Where a key is unknown or a value is of the wrong kind.
    """

    name: str = "target"
    model: Any = None
    build: Any = None
    classes: Any = None
    task: Literal["classification", "regression"] | None = None
    trust: tuple[str, ...] = ()
    fit: Any = None
    train: Any = None
    test: Any = None
    label: str | None = None
    source: str | None = None
    record_id: str | None = None
    features: Mapping[str, Mapping[str, Any]] = {}
    constraints: tuple[Any, ...] = ()
    access: Access = Access()
    learning: LearningSection | None = None
    base: BaseSection | None = None
    artefacts: ArtefactsSection | None = None
    images: ImagesSection | None = None
    endpoint: Mapping[str, Any] = {}

    @field_validator("trust", "constraints", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return as_tuple(value)

    @field_validator("access", mode="before")
    @classmethod
    def _access(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return {"attacker": value} if isinstance(value, str) else value
        for key in value:
            if key not in Access.model_fields:
                near = get_close_matches(key, list(Access.model_fields), n=1)
                known = ", ".join(Access.model_fields)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {known}"
                raise UsageError(f"access: unknown key {key!r}; {hint}")
        return value

    @field_validator("learning", mode="before")
    @classmethod
    def _learning(cls, value: Any) -> Any:
        return LearningSection(**value) if isinstance(value, Mapping) else value

    @field_validator("base", mode="before")
    @classmethod
    def _base(cls, value: Any) -> Any:
        return BaseSection(**value) if isinstance(value, Mapping) else value

    @field_validator("artefacts", mode="before")
    @classmethod
    def _artefacts(cls, value: Any) -> Any:
        if isinstance(value, (str, list, tuple)):
            return ArtefactsSection(paths=as_tuple(value))
        return ArtefactsSection(**value) if isinstance(value, Mapping) else value

    @field_validator("images", mode="before")
    @classmethod
    def _images(cls, value: Any) -> Any:
        return ImagesSection(**value) if isinstance(value, Mapping) else value


def as_tuple(value: Any) -> Any:
    """One value or a list of them as a tuple."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, (list, tuple, set, frozenset)) else (value,)


def first_error(error: ValidationError) -> str:
    """Where the first thing wrong is, and what, as one short text."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"the key {where!r} is missing"
    given = first.get("input")
    shown = f" (given: {given!r})" if isinstance(given, (str, int, float, bool)) else ""
    return f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}{shown}"
