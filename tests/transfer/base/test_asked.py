"""A few requests: candidates within the ball, more of them never worse, what answers add."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from crenel.transfer.base.asked import REQUESTS, asked, by_requests, candidates  # noqa: E402


def linear_base():
    module = torch.nn.Sequential(torch.nn.Linear(6, 3, bias=False), torch.nn.Linear(3, 2))
    with torch.no_grad():
        module[0].weight.copy_(torch.eye(3, 6))  # reads the first three values alone
        module[1].weight.copy_(torch.tensor([[1.0, 1, 1], [-1, -1, -1]]))
        module[1].bias.copy_(torch.tensor([-1.5, 1.5]))
    return module


def rows(n=40):
    return (0.4 + 0.2 * np.random.default_rng(3).random((n, 6))).astype(np.float32)


def test_candidates_stay_in_the_ball_repeat_and_begin_with_the_attack_that_asks_nothing():
    from crenel.transfer.base.surrogate import METHODS, craft

    u, module = rows(), linear_base()
    first, again = (
        np.stack(list(candidates(module, u, 0.1, rows(20), seed=5, count=30))) for _ in "ab"
    )
    np.testing.assert_array_equal(first, again)
    assert first.shape == (30, *u.shape)
    assert np.abs(first - u).max() <= 0.1 + 1e-6
    alone = craft(module, u, 0.1, METHODS[0], guides=rows(20), seed=5)
    np.testing.assert_allclose(first[0], alone, atol=1e-6)
    mixed = first[9:] - u
    np.testing.assert_allclose(np.abs(mixed), 0.1, atol=1e-5)  # at the edge of the ball
    assert len(np.unique(np.sign(mixed[:, 0]), axis=0)) > 3


def test_rows_are_asked_for_until_they_turn_and_counted_at_that_request():
    turning = np.array([1, 5, 31, 200])  # the request that would turn each row
    number = iter(range(1, 101))

    def flips(changed, rows):
        assert len(changed) == len(rows)
        return turning[rows] == next(number)

    turned, spent = asked(flips, (np.zeros((4, 2)) for _ in range(100)), 4)
    np.testing.assert_array_equal(turned, [1, 5, 31, 0])
    assert spent == 1 + 5 + 31 + 100
    by = by_requests(turned)
    np.testing.assert_array_equal(by.sum(axis=1), [1, 2, 2, 3])
    assert len(by) == len(REQUESTS)


def test_answers_find_the_side_on_which_the_tuned_model_gives_way():
    # The tuned model decides by the first value alone and gives way downwards only; the base's
    # displacement goes either way at random, so that one request turns about half of the rows.
    u = rows(60)
    u[:, 0] = 0.55
    made = candidates(linear_base(), u, 0.1, rows(20), seed=1, count=25)
    found, _ = asked(lambda changed, _: changed[:, 0] < 0.5, made, len(u))
    shares = by_requests(found, (1, 25)).mean(axis=1)
    assert 0.2 < shares[0] < 0.8
    assert shares[1] > 0.95
