"""A loaded target: what checks are handed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from crenel.access import Access
from crenel.model import Model
from crenel.schema import Kind, Schema

if TYPE_CHECKING:
    from crenel.provenance.published import Published

T = TypeVar("T")


@dataclass(frozen=True)
class Data:
    """Labelled rows.

    Attributes
    ----------
    x : pandas.DataFrame or ndarray, n rows
        Tables are frames with the user's own columns and values; images and other tensors are
        arrays (n, …).
    y : ndarray, shape (n,)
        Class indices, int64; or values, float64, for regression.
    ids : ndarray, shape (n,)
        Record ids, or row numbers from 0 in the file where there are none.
    source : ndarray, shape (n,), or None
        Who supplied each record.
    """

    x: Any
    y: NDArray[Any]
    ids: NDArray[Any]
    source: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.y)

    @property
    def is_table(self) -> bool:
        """Whether ``x`` is a frame."""
        return hasattr(self.x, "iloc")

    def names(self, rows: NDArray[Any]) -> tuple[str | int, ...]:
        """Record ids of the rows at an index array or under a mask, as evidence names them."""
        return tuple(i if isinstance(i, int) else str(i) for i in self.ids[rows].tolist())

    def take(self, index: NDArray[Any]) -> Data:
        """The rows at an index array or under a boolean mask."""
        rows = np.flatnonzero(index) if index.dtype == bool else index
        return Data(
            x=take_rows(self.x, rows),
            y=self.y[rows],
            ids=self.ids[rows],
            source=None if self.source is None else self.source[rows],
        )


def take_rows(x: Any, rows: NDArray[np.int64]) -> Any:
    """Rows of a frame (index reset) or of an array."""
    if hasattr(x, "iloc"):
        return x.iloc[rows].reset_index(drop=True)
    return x[rows]


def join_rows(parts: list[Any]) -> Any:
    """Frames or arrays one below the other."""
    if hasattr(parts[0], "iloc"):
        import pandas as pd

        return pd.concat(parts, ignore_index=True)
    return np.concatenate(parts)


@dataclass(frozen=True)
class Learning:
    """A model that keeps learning.

    Attributes
    ----------
    learner : callable
        Returns a fresh incremental learner: an object with ``learn_one``/``predict_one`` (River)
        or ``partial_fit``/``predict`` (scikit-learn), untrained.
    stream : Data
        The samples in the order of their arrival.
    samples_per_day : int or None
        Honest traffic.
    protect : tuple of str
        Behaviours that must not be turned: ``"row:17"`` of the stream, ``"slice:age>60"``.
    """

    learner: Callable[[], Any]
    stream: Data
    samples_per_day: int | None = None
    protect: tuple[str, ...] = ()


@dataclass(frozen=True)
class SigningIdentity:
    """Somebody who signs through Sigstore, without a key.

    Attributes
    ----------
    identity, identity_provider : str
        The name in the certificate, and the URL of the provider that vouches for it.
    trust_root : Path or None
        Sigstore's roots; else those that were fetched last, or came with the library.
    """

    identity: str
    identity_provider: str
    trust_root: Path | None = None


@dataclass(frozen=True)
class Base:
    """The public model that the audited one was tuned from.

    Attributes
    ----------
    model : Model or None
        As an attacker would download it; its classes may differ from the target's.
    files : tuple of Path
    origin : str
        "hub:org/name@revision", or empty.
    card : Path or None
        The model card.
    data : Data or None
        Public data like the base's own, where it is known.
    signature : Path or None
        The publisher's signature of the model (OpenSSF Model Signing).
    signer : Path or SigningIdentity or None
        Whose it must be: a public key, certificates, or an identity.
    known : tuple of Published
        Published models with the digests of their files, as the user's list has them.
    others : tuple of (name, Model)
        Further models that an attacker may have in the place of this one: look-alikes, other
        candidates.
    """

    model: Model | None = None
    files: tuple[Path, ...] = ()
    origin: str = ""
    card: Path | None = None
    data: Data | None = None
    signature: Path | None = None
    signer: Path | SigningIdentity | None = None
    known: tuple[Published, ...] = ()
    others: tuple[tuple[str, Model], ...] = ()


@dataclass(frozen=True)
class Images:
    """What images a model takes, as the user says it.

    Attributes
    ----------
    shape : tuple of int
        Of one image.
    low, high : float
        Least and greatest number.
    """

    shape: tuple[int, ...]
    low: float = 0.0
    high: float = 1.0

    def noise(self) -> NDArray[np.float32]:
        """A few random images, to see the form of a model's answers on."""
        drawn = np.random.default_rng(0).uniform(self.low, self.high, (4, *self.shape))
        return drawn.astype(np.float32)


#: Every capability a check can need, and the reason given where a target lacks it.
CAPABILITIES = {
    "model": "no model is given",
    "classification": "the model is a regression; this measures decisions",
    "regression": "the model decides between classes; this measures predicted values",
    "scores": "the model shows decisions only, no scores",
    "gradients": "the model gives no gradients (it is not a torch module)",
    "no gradients": "the model gives gradients: TRA-104 searches with them",
    "trees": "the model is not a tree ensemble that can be read",
    "fit": "the model cannot be trained again (no fit given)",
    "train": "no training data is given",
    "test": "no test data is given",
    "table": "the data is not a table",
    "text": "no column is free text that an attacker can change",
    "images": "the data is no images",
    "images or their shape": "neither images nor their shape are given ([target.NAME.images])",
    "sources": "no source column is given",
    "learner": "no learning loop is given ([target.NAME.learning])",
    "base": "no base model is given ([target.NAME.base])",
    "base_model": "the base model is not loaded ([target.NAME.base] model)",
    "files": "the model is not a file",
}


@dataclass(frozen=True)
class Subject:
    """A target, loaded. What is None was not given, and makes some checks not applicable."""

    name: str
    access: Access = Access()
    model: Model | None = None
    train: Data | None = None
    test: Data | None = None
    schema: Schema | None = None
    learning: Learning | None = None
    base: Base | None = None
    images: Images | None = None
    files: tuple[Path, ...] = ()
    trusted: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)
    memo: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What several checks need of this subject: made for the first of them, and kept.

        Parameters
        ----------
        key : hashable
            What it is, with all that it depends on beside the subject: the run's seed, sizes. A
            subject with another model or other data keeps its own.
        make : callable
        """
        if key not in self.memo:
            self.memo[key] = make()
        found: T = self.memo[key]
        return found

    def lacks(self, needs: tuple[str, ...]) -> Iterator[str]:
        """Reasons why needs (keys of `CAPABILITIES`) are not met, none if they are."""
        has = capabilities(self)
        for need in needs:
            if need not in has:
                yield CAPABILITIES[need]

    def with_model(self, model: Model) -> Subject:
        """The same subject with another model in the model's place."""
        return replace(self, model=model)


def capabilities(subject: Subject) -> frozenset[str]:
    """What a subject offers, as keys of `CAPABILITIES`."""
    model, data = subject.model, subject.test or subject.train
    images = data is not None and not data.is_table and data.x.ndim in (3, 4)
    offered = {
        "model": model is not None,
        "classification": model is not None and model.task == "classification",
        "regression": model is not None and model.task == "regression",
        "scores": model is not None and model.score is not None,
        "gradients": model is not None and model.module is not None,
        "no gradients": model is not None and model.module is None,
        "trees": model is not None and is_tree_ensemble(model.final),
        "fit": model is not None and model.fit is not None,
        "train": subject.train is not None,
        "test": subject.test is not None,
        "table": data is not None and data.is_table,
        "text": subject.schema is not None
        and any(f.kind is Kind.TEXT and f.mutable for f in subject.schema.features),
        "images": images,
        "images or their shape": images or (data is None and subject.images is not None),
        "sources": subject.train is not None and subject.train.source is not None,
        "learner": subject.learning is not None,
        "base": subject.base is not None,
        "base_model": subject.base is not None and subject.base.model is not None,
        "files": bool(subject.files) or (subject.base is not None and bool(subject.base.files)),
    }
    return frozenset(name for name, given in offered.items() if given)


_TREE_MODULES = ("sklearn.tree", "sklearn.ensemble", "xgboost", "lightgbm", "catboost")
_NOT_TREES = ("Voting", "Stacking", "RandomTreesEmbedding")
#: Ensembles of any estimators, which count where these are trees.
_OF_MEMBERS = ("Bagging", "AdaBoost")


def is_tree_ensemble(estimator: Any) -> bool:
    """Whether an estimator is one whose trees `crenel.evasion.tree_distance` reads."""
    kind = type(estimator)
    if kind.__name__.startswith(_OF_MEMBERS) and kind.__module__.startswith("sklearn.ensemble"):
        members = getattr(estimator, "estimators_", ())
        return all(type(m).__module__.startswith("sklearn.tree") for m in members)
    return (
        estimator is not None
        and kind.__module__.startswith(_TREE_MODULES)
        and not kind.__name__.startswith(_NOT_TREES)
        and getattr(estimator, "booster", None) not in ("gblinear",)
    )
