import hashlib

import numpy as np
import pytest

from crenel.errors import CrenelError
from crenel.provenance import lanes, sha256


@pytest.mark.parametrize("n", [1, 63, 64, 65, 200])
def test_lanes_give_the_digests_of_hashlib_for_every_length_around_a_block(n):
    data = np.random.default_rng(n).integers(0, 256, (n, 190), dtype=np.uint8)
    for width in [0, 1, 3, 4, 54, 55, 56, 57, 63, 64, 65, 118, 119, 120, 128, 190]:
        messages = np.ascontiguousarray(data[:, :width])
        out = np.empty((n, 32), dtype=np.uint8)
        lanes.digest_lanes(messages, out)
        assert [bytes(d) for d in out] == [hashlib.sha256(m).digest() for m in messages]


def test_many_rows_are_hashed_as_few_are(monkeypatch):
    data = np.random.default_rng(0).integers(0, 256, (300, 77), dtype=np.uint8)
    few = sha256.sha256_rows(data)
    monkeypatch.setattr(sha256, "MANY", 100)
    assert np.array_equal(few, sha256.sha256_rows(data))


def test_a_wrong_kernel_is_an_error_and_no_digest(monkeypatch):
    monkeypatch.setattr(sha256, "MANY", 10)
    monkeypatch.setattr(lanes, "digest_lanes", lambda messages, out: out.fill(7))
    with pytest.raises(CrenelError, match="wrong digests"):
        sha256.sha256_rows(np.zeros((50, 9), dtype=np.uint8))
