"""Ensembles read lately: a model that is asked of row after row is read once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b

from crenel.evasion.trees.ensemble import TreeEnsemble

#: Ensembles kept, and nodes of those that are: large ones take long to search anyway.
KEPT, NODES = 4, 200_000

_kept: OrderedDict[bytes, TreeEnsemble] = OrderedDict()
_lock = threading.Lock()


def read_once(source: bytes, build: Callable[[], TreeEnsemble]) -> TreeEnsemble:
    """The ensemble that ``build`` makes, or the one that it made of the same bytes before.

    Parameters
    ----------
    source : bytes
        All that the ensemble is made of, so that a model trained further is read anew.
    build : callable
    """
    key = blake2b(source, digest_size=32).digest()
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    made = build()
    if len(made.feature) <= NODES:
        with _lock:
            _kept[key] = made
            while len(_kept) > KEPT:
                _kept.popitem(last=False)
    return made
