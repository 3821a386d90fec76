"""What stands beside the weights in a folder: configuration, vocabulary, card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crenel.errors import SubjectError

#: Bytes of one file that are read at most.
MOST = 256 << 20
#: Fields of a configuration that say nothing of the architecture.
_INCIDENTAL = (
    "name_or_path", "transformers_version", "dtype", "version", "use_cache", "id2label",
    "label2id", "finetuning_task", "commit_hash", "auto_map", "problem_type", "dropout",
    "gradient_checkpointing", "output_", "return_dict",
)  # fmt: skip


@dataclass(frozen=True)
class Description:
    """What the files beside a model's weights say.

    Attributes
    ----------
    config : dict
        The fields of config.json that describe the architecture.
    tokens : dict of str to int
        The vocabulary.
    claims : tuple of str
        Bases that configuration, card or bill of materials name.
    """

    config: Mapping[str, Any]
    tokens: Mapping[str, int]
    claims: tuple[str, ...] = ()


@dataclass(frozen=True)
class Papers:
    """Configurations and vocabularies of two models, compared.

    Attributes
    ----------
    fields, equal : int
        Fields of the configuration that both have, and those that are equal.
    differing : tuple of str
        The first of those that differ, as "name: base → model".
    overlap : float or None
        Tokens in both over tokens in either; None without two vocabularies.
    same_ids : float or None
        Share of the common tokens that have the same number.
    claims : tuple of str
        Bases that the model's configuration, card or bill of materials names.
    """

    fields: int
    equal: int
    differing: tuple[str, ...]
    overlap: float | None
    same_ids: float | None
    claims: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "fields": self.fields, "equal": self.equal, "differing": list(self.differing),
            "overlap": self.overlap, "same_ids": self.same_ids, "claims": list(self.claims),
        }  # fmt: skip


def describe(source: Any) -> Description | None:
    """Read what stands beside the weights; None where the source is no folder.

    Parameters
    ----------
    source : path or anything
        A folder is looked into; anything else has nothing beside it.

    Raises
    ------
    SubjectError
        Where a file is damaged.
    """
    folder = Path(source) if isinstance(source, (str, Path)) else None
    if folder is None or not folder.is_dir():
        return None
    config = _json(folder / "config.json")
    adapter = _json(folder / "adapter_config.json").get("base_model_name_or_path")
    carded = _named_by_card(folder / "README.md")
    claims = [config.get("_name_or_path"), adapter, *carded, *_listed(folder)]
    kept = {
        k: v
        for k, v in config.items()
        if isinstance(v, (str, int, float, bool, list)) and not any(w in k for w in _INCIDENTAL)
    }
    named = tuple(dict.fromkeys(c for c in claims if isinstance(c, str) and c))
    return Description(kept, _tokens(folder), named)


def compare_papers(base: Description | None, tuned: Description | None) -> Papers | None:
    """Hold two descriptions against each other; None without both."""
    if base is None or tuned is None:
        return None
    common = sorted(set(base.config) & set(tuned.config))
    differ = [k for k in common if base.config[k] != tuned.config[k]]
    both = set(base.tokens) & set(tuned.tokens)
    either = set(base.tokens) | set(tuned.tokens)
    known = bool(base.tokens and tuned.tokens)
    same = sum(base.tokens[t] == tuned.tokens[t] for t in both)
    return Papers(
        len(common),
        len(common) - len(differ),
        tuple(f"{k}: {base.config[k]} → {tuned.config[k]}" for k in differ[:8]),
        len(both) / len(either) if known else None,
        (same / len(both) if both else 0.0) if known else None,
        tuned.claims,
    )


def _tokens(folder: Path) -> dict[str, int]:
    """The vocabulary of tokenizer.json, vocab.json or vocab.txt, whichever is there first."""
    whole = _json(folder / "tokenizer.json").get("model")
    vocabulary = whole.get("vocab") if isinstance(whole, dict) else None
    if isinstance(vocabulary, list):  # Unigram: pairs of token and score
        return {str(pair[0]): i for i, pair in enumerate(vocabulary) if pair}
    if not isinstance(vocabulary, dict):
        vocabulary = _json(folder / "vocab.json")
    if vocabulary:
        return {str(k): v for k, v in vocabulary.items() if isinstance(v, int)}
    lines = _text(folder / "vocab.txt").splitlines()
    return {token: i for i, token in enumerate(lines)}


def _named_by_card(path: Path) -> list[str]:
    from crenel.transfer.papers.card import parse_card

    value = parse_card(_text(path)[:1_000_000]).front.get("base_model")
    return [str(v) for v in (value if isinstance(value, list) else [value]) if v]


def _listed(folder: Path) -> tuple[str, ...]:
    """Ancestors in a bill of materials; one that is damaged says nothing (TRA-103 tells of it)."""
    from crenel.transfer.bom.reading import bom_beside

    bom, _ = bom_beside([folder])
    return bom.bases if bom is not None else ()


def _text(path: Path) -> str:
    if not path.is_file():
        return ""
    try:
        with path.open("rb") as file:
            return file.read(MOST).decode("utf-8", errors="replace")
    except OSError as error:
        raise SubjectError(f"{path} cannot be read: {error.strerror or error}") from error


def _json(path: Path) -> dict[str, Any]:
    text = _text(path)
    if not text:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SubjectError(f"{path} is not valid JSON: {error}") from error
    return found if isinstance(found, dict) else {}
