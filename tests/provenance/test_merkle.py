"""The tree of RFC 6962, against the test vectors of the reference implementation and the RFC."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crenel.errors import UsageError
from crenel.provenance import sha256
from crenel.provenance.merkle import inclusion_path, merkle_root, root_from_path

ENTRIES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657"]
ENTRIES.append("606162636465666768696a6b6c6d6e6f")
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
PATHS = {
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
}


def leaves_of(entries):
    digests = b"".join(hashlib.sha256(b"\0" + e).digest() for e in entries)
    return np.frombuffer(digests, dtype=np.uint8).reshape(-1, 32)


def published(n):
    return leaves_of([bytes.fromhex(e) for e in ENTRIES[:n]])


def by_the_rfc(leaves):
    """The recursion of section 2.1, word for word."""
    n = len(leaves)
    if n == 1:
        return bytes(leaves[0])
    k = 1
    while 2 * k < n:
        k *= 2
    return hashlib.sha256(b"\1" + by_the_rfc(leaves[:k]) + by_the_rfc(leaves[k:])).digest()


@pytest.mark.parametrize("n", range(9))
def test_published_roots(n):
    assert merkle_root(published(n)).hex() == ROOTS[n]


@pytest.mark.parametrize(("row", "rows"), PATHS)
def test_published_paths(row, rows):
    assert [p.hex() for p in inclusion_path(published(rows), row)] == PATHS[row, rows]


@given(st.integers(1, 70))
def test_any_number_of_leaves_gives_the_tree_of_the_rfc(n):
    leaves = leaves_of([str(i).encode() for i in range(n)])
    root = merkle_root(leaves)
    assert root == by_the_rfc(leaves)
    for row in range(n):
        path = inclusion_path(leaves, row)
        assert root_from_path(bytes(leaves[row]), row, n, path) == root
        for wrong in ([*path, bytes(32)], path[:-1]):
            assert root_from_path(bytes(leaves[row]), row, n, wrong) != root or wrong == path
        if n > 1:
            assert root_from_path(bytes(leaves[row]), (row + 1) % n, n, path) != root


def test_the_compiled_tree_is_the_same(monkeypatch):
    leaves = leaves_of([str(i).encode() for i in range(501)])
    monkeypatch.setattr(sha256, "MANY", 50)
    assert merkle_root(leaves) == by_the_rfc(leaves)


def test_a_row_that_is_not_there_is_told():
    with pytest.raises(UsageError, match="from 0 to 2"):
        inclusion_path(published(3), 3)
    assert root_from_path(bytes(32), 3, 3, []) is None
