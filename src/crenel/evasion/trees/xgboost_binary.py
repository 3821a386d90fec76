"""XGBoost's trees from its binary form: each kind of array of all trees at once.

The form is Universal Binary JSON (https://ubjson.org, draft 12), in which an array is a name, a
type, a length and big-endian numbers.  Text takes three times as long to write and to read.
What is not in the expected form is left to the reader of text.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.trees.ensemble import Floats

TYPES = {"U": "u1", "i": "i1", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}


class BinaryTrees(NamedTuple):
    """All trees one after the other, as XGBoost numbers their nodes.

    ``sizes`` (trees,) are numbers of nodes, ``group`` (trees,) the classes that leaves add to;
    the others are (nodes,).
    """

    sizes: NDArray[np.int64]
    group: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    column: NDArray[np.int64]
    condition: Floats
    missing_left: NDArray[np.bool_]


def trees_of(raw: bytes, trees: int, used: int | None) -> BinaryTrees | None:
    """The first ``used`` of the trees in a saved model; None where they are not plain trees."""
    plain = re.findall(rb"size_leaf_vectorSL\x00{7}\x01[01]", raw)
    categories = joined(raw, "categories_nodes", trees)
    group = groups(raw, trees)
    left = joined(raw, "left_children", trees)
    names = ("right_children", "split_indices", "split_conditions", "default_left")
    others = [joined(raw, name, trees) for name in names]
    if len(plain) != trees or group is None or left is None or categories is None:
        return None
    if len(categories[0]) or any(o is None or (o[1] != left[1]).any() for o in others):
        return None
    kept = int(left[1][:used].sum())
    right, column, condition, missing = (o[0][:kept] for o in others if o is not None)
    return BinaryTrees(
        left[1][:used], group[:used], left[0][:kept].astype(np.int64), right.astype(np.int64),
        column.astype(np.int64), condition.astype(np.float32), missing.astype(bool),
    )  # fmt: skip


def joined(raw: bytes, name: str, trees: int) -> tuple[NDArray[Any], NDArray[np.int64]] | None:
    """One array of every tree, one tree after the other, and its lengths (trees,)."""
    head = b"L" + len(name).to_bytes(8, "big") + name.encode() + b"[$"
    at = np.array([found.end() for found in re.finditer(re.escape(head), raw)], dtype=np.int64)
    data = np.frombuffer(raw, dtype=np.uint8)
    if len(at) != trees or not trees:
        return None
    kind = TYPES.get(chr(data[at[0]]))
    if kind is None or (data[at] != data[at[0]]).any():
        return None
    sizes = data[at[:, None] + np.arange(3, 11)].view(">i8").ravel().astype(np.int64)
    spans = sizes * np.dtype(kind).itemsize
    if (spans < 0).any() or (at + 11 + spans > len(raw)).any():
        return None
    first = np.cumsum(spans) - spans
    index = np.repeat(at + 11 - first, spans) + np.arange(int(spans.sum()))
    return data[index].view(kind), sizes


def groups(raw: bytes, trees: int) -> NDArray[np.int64] | None:
    """Class of every tree, (trees,); each number carries its own type."""
    head = b"tree_info[#L" + trees.to_bytes(8, "big")
    at = raw.find(head) + len(head)
    if at < len(head) or at + 2 * trees > len(raw):
        return None
    pairs = np.frombuffer(raw, dtype=np.int8, count=2 * trees, offset=at).reshape(-1, 2)
    if (pairs[:, 0] != ord("i")).any():
        return None
    return pairs[:, 1].astype(np.int64)
