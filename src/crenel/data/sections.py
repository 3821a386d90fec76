"""The further sections of a target: the learning loop, the base model, files and digests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.adapters.labels import as_labels, index_of
from crenel.adapters.loading import load_model, model_path
from crenel.adapters.modules import resolve_callable
from crenel.adapters.rows import is_frame
from crenel.adapters.trust import normalised
from crenel.data.digests import digest_array, digest_file, digest_frame
from crenel.data.infer import as_frame
from crenel.data.modelling import distinct
from crenel.data.sources import existing, load, to_pandas
from crenel.data.validate import check_rows
from crenel.errors import SubjectError, Untrusted, UsageError
from crenel.model import Model
from crenel.subject import Base, Data, Learning, SigningIdentity, Subject
from crenel.target import BaseSection, Target

if TYPE_CHECKING:
    from crenel.provenance.published import Published

#: Most files of one target that are listed.
MAX_FILES = 10_000


def load_learning(
    target: Target, root: Path, classes: NDArray[Any] | None, notes: list[str]
) -> Learning | None:
    """The learning loop of a target.

    Raises
    ------
    UsageError
        Where the learner or the stream does not exist.
    SubjectError
        Where the stream cannot be used.
    """
    section = target.learning
    if section is None:
        return None
    learner = resolve_callable(section.learner, root, "learning.learner")
    loaded = load(
        section.stream,
        label=target.label,
        record_id=target.record_id,
        root=root,
        notes=notes,
        name="learning.stream",
    )
    check_rows(loaded, "learning.stream", target.label, continuous=target.task == "regression")
    x = loaded.x
    if is_frame(x) and target.source is not None:
        x = x.drop(columns=[target.source], errors="ignore")
    assert loaded.labels is not None
    if classes is None and target.task != "regression":
        classes = as_labels(distinct(loaded.labels))
    y = loaded.labels.astype(np.float64) if classes is None else index_of(loaded.labels, classes)
    stream = Data(x if is_frame(x) or x.ndim > 2 else as_frame(x), y, loaded.ids)
    return Learning(learner, stream, section.samples_per_day, section.protect)


def load_base(
    target: Target, root: Path, scan: bool, notes: list[str], sample: Any = None
) -> Base | None:
    """The base model of a target; one that may not be loaded is kept as a file for the scan.

    Parameters
    ----------
    sample : rows, optional
        Some of the target's own rows, to see the base model's answers on where it has no data.

    Raises
    ------
    UsageError
        Where a file does not exist.
    """
    section = target.base
    if section is None:
        return None
    data = _base_data(target, section, root, notes)
    files = [existing(f, root, "base.files") for f in section.files]
    path = model_path(section.model, root) if section.model is not None else None
    model = None
    if section.model is not None:
        try:
            model = load_model(
                section.model,
                root=root,
                build=section.build,
                trust=normalised((*target.trust, *section.trust)),
                scan=scan,
                classes=section.classes,
                sample=sample if data is None else data.x[:64],
                notes=notes,
            )
        except (Untrusted, SubjectError) as error:
            notes.append(f"the base model is not used: {error}")
    return Base(
        model=model,
        files=tuple(([path] if path is not None else []) + files),
        origin=section.origin,
        card=None if section.card is None else existing(section.card, root, "base.card"),
        data=data,
        signature=(
            None
            if section.signature is None
            else existing(section.signature, root, "base.signature")
        ),
        signer=_signer(section.signer, root),
        known=_known(section.known, root),
        others=_others(target, section, root, scan, notes, sample if data is None else data.x[:64]),
    )


def _others(
    target: Target, section: BaseSection, root: Path, scan: bool, notes: list[str], sample: Any
) -> tuple[tuple[str, Model], ...]:
    """Further bases by name; one that may not be loaded is noted and left out."""
    made: list[tuple[str, Model]] = []
    for given in section.others:
        settings = dict(given) if isinstance(given, Mapping) else {"model": given}
        unknown = sorted(set(settings) - {"model", "build", "classes", "name"})
        if unknown or "model" not in settings:
            wrong = f"unknown key {unknown[0]!r}" if unknown else "the key 'model' is missing"
            raise UsageError(f"base.others: {wrong}; known are model, build, classes, name")
        path = model_path(settings["model"], root)
        kind = type(settings["model"]).__name__
        name = str(settings.get("name") or (path.name if path is not None else kind))
        try:
            model = load_model(
                settings["model"],
                root=root,
                build=settings.get("build", section.build),
                trust=normalised((*target.trust, *section.trust)),
                scan=scan,
                classes=settings.get("classes", section.classes),
                sample=sample,
                notes=notes,
            )
        except (Untrusted, SubjectError) as error:
            notes.append(f"{name} is not tried in the base's place: {error}")
            continue
        taken = sum(n.partition(" (")[0] == name for n, _ in made)
        made.append((f"{name} ({taken + 1})" if taken else name, model))
    return tuple(made)


def _signer(signer: Any, root: Path) -> Path | SigningIdentity | None:
    """Whose signature the base model must bear."""
    if not isinstance(signer, Mapping):
        return None if signer is None else existing(signer, root, "base.signer")
    name, provider = signer.get("identity"), signer.get("identity_provider")
    unknown = set(signer) - {"identity", "identity_provider", "trust_root"}
    if unknown or not (isinstance(name, str) and name and isinstance(provider, str) and provider):
        raise UsageError(
            'base.signer: an identity is {identity = "NAME", identity_provider = "URL"}, with or '
            'without trust_root = "FILE"'
        )
    file = signer.get("trust_root")
    trust_root = None if file is None else existing(file, root, "base.signer.trust_root")
    return SigningIdentity(name, provider, trust_root)


def _known(given: Any, root: Path) -> tuple[Published, ...]:
    """The user's list of published models."""
    if given is None:
        return ()
    from crenel.provenance.published import read_published

    return read_published(existing(given, root, "base.known"))


def _base_data(target: Target, section: BaseSection, root: Path, notes: list[str]) -> Data | None:
    """Public data like the base model's own, where it is given."""
    if section.data is None:
        return None
    loaded = load(section.data, label=target.label, root=root, notes=notes, name="base.data")
    assert loaded.labels is not None
    y = index_of(loaded.labels, as_labels(distinct(loaded.labels)))
    return Data(loaded.x, y, loaded.ids)


def files_of(target: Target, root: Path) -> tuple[Path, ...]:
    """The model file and all files of the artefacts section, folders gone through.

    Raises
    ------
    UsageError
        Where a path does not exist or holds too many files.
    """
    path = model_path(target.model, root) if target.model is not None else None
    found = [] if path is None else [path]
    for given in target.artefacts.paths if target.artefacts else ():
        place = existing(given, root, "artefacts.paths")
        found += sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place]
        if len(found) > MAX_FILES:
            raise UsageError(f"artefacts.paths: {place} holds over {MAX_FILES:,} files; name fewer")
    return tuple(dict.fromkeys(found))


def unloaded(target: Target, root: Path) -> Subject:
    """A target of which nothing has been loaded: its files alone, for the scan.

    Raises
    ------
    UsageError
        Where a path does not exist.
    """
    section = target.base
    base = None
    if section is not None:
        path = model_path(section.model, root) if section.model is not None else None
        named = [existing(f, root, "base.files") for f in section.files]
        base = Base(files=tuple([path, *named] if path is not None else named))
    trust = (*target.trust, *(section.trust if section is not None else ()))
    return Subject(target.name, files=files_of(target, root), trusted=normalised(trust), base=base)


def digests_of(target: Target, root: Path) -> dict[str, str]:
    """``sha256:…`` of every input that has content, by the key that names it."""
    learning, base = target.learning, target.base
    given = {
        "model": model_path(target.model, root) if target.model is not None else None,
        "train": target.train,
        "test": target.test,
        "learning.stream": None if learning is None else learning.stream,
        "base.model": model_path(base.model, root) if base and base.model is not None else None,
        "base.data": None if base is None else base.data,
    }
    return {name: _digest(value, root) for name, value in given.items() if value is not None}


def _digest(value: Any, root: Path) -> str:
    if isinstance(value, (str, Path)):
        return digest_file(root / value)
    if isinstance(value, (tuple, list)):  # (X, y)
        return digest_array(np.asarray([_digest_of(part) for part in value]))
    return _digest_of(value)


def _digest_of(value: Any) -> str:
    """The digest of a frame, an array or labels."""
    if hasattr(value, "to_frame"):
        value = as_labels(value)
    frame = to_pandas(value)
    return digest_array(np.asarray(value)) if frame is None else digest_frame(frame)
