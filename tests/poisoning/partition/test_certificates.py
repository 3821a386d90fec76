"""Certificates against every way to change the votes, and against the papers' own formulas."""

from itertools import combinations, permutations, product

import numpy as np
import pytest

from crenel.poisoning.partition import CertifiedCurve, count_votes, plurality, run_off
from crenel.poisoning.partition.curve import budgets_of, class_table


def elected(scores):
    """The run-off's winner for one row, by its definition; scores (k, K), NaN where unknown."""
    classes = range(scores.shape[1])

    def best(s):
        known = [c for c in classes if not np.isnan(s[c])]
        return min(known, key=lambda c: (-s[c], c)) if known else None

    def for_one_of(s, a, b):
        if not np.isnan(s[a]) and not np.isnan(s[b]):
            return a if s[a] > s[b] or (s[a] == s[b] and a < b) else b
        return best(s) if best(s) in (a, b) else None

    votes = [best(s) for s in scores]
    a, b = sorted(sorted(classes, key=lambda c: (-votes.count(c), c))[:2])
    again = [for_one_of(s, a, b) for s in scores]
    return a if again.count(a) >= again.count(b) else b


def true_radius(scores):
    """The most members that can be changed in any way at all without another winner."""
    k, classes = scores.shape
    winner = elected(scores)
    orders = [np.array(p, dtype=float) for p in permutations(range(classes))]
    for r in range(1, k + 1):
        for who in combinations(range(k), r):
            for new in product(orders, repeat=r):
                changed = scores.copy()
                changed[list(who)] = new
                if elected(changed) != winner:
                    return r - 1
    return k


@pytest.mark.parametrize("unknown", [0, 1, 4])
@pytest.mark.parametrize(("classes", "members", "cases"), [(2, 7, 60), (3, 5, 60), (4, 4, 20)])
def test_no_change_of_so_many_members_turns_a_run_off(classes, members, cases, unknown):
    rng = np.random.default_rng(classes + unknown)
    scores = rng.integers(0, 4, (members, cases, classes)).astype(float)  # with ties
    scores[:, ::3, 0] += 2  # some that stand firm
    scores[rng.random(scores.shape) < 0.1 * unknown] = np.nan
    decided, rows = run_off(scores)
    truth = np.array([true_radius(scores[:, i]) for i in range(cases)])
    assert [elected(scores[:, i]) for i in range(cases)] == decided.tolist()
    assert (rows <= truth).all()
    if not unknown:  # in the simplest cases it misses no row that could be certified
        assert (rows == truth).mean() > 0.95


def test_no_change_of_so_many_of_six_members_turns_a_run_off_of_three_classes():
    rng = np.random.default_rng(9)
    scores = rng.normal(size=(6, 25, 3))
    scores[:5, ::2, 1] += 3
    _, rows = run_off(scores)
    truth = np.array([min(3, _radius_up_to(scores[:, i], 3)) for i in range(25)])
    assert (np.minimum(rows, 3) <= truth).all()
    assert (truth >= 2).any()


def _radius_up_to(scores, most):
    winner = elected(scores)
    orders = [np.array(p, dtype=float) for p in permutations(range(scores.shape[1]))]
    for r in range(1, most + 1):
        for who in combinations(range(len(scores)), r):
            for new in product(orders, repeat=r):
                changed = scores.copy()
                changed[list(who)] = new
                if elected(changed) != winner:
                    return r - 1
    return most


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_the_plurality_certificate_is_exact(classes):
    members = 5
    for votes in product(range(classes), repeat=members):
        counts = np.bincount(votes, minlength=classes)[None]
        (decided,), (rows,) = plurality(counts)
        assert decided == counts[0].argmax()
        turned = {
            len([1 for a, b in zip(votes, other) if a != b])
            for other in product(range(classes), repeat=members)
            if np.bincount(other, minlength=classes).argmax() != decided
        }
        assert rows == min(turned) - 1


def test_plurality_is_the_published_formula():
    rng = np.random.default_rng(3)
    counts = rng.multinomial(50, [0.4, 0.3, 0.2, 0.1], 200)
    decided, rows = plurality(counts)
    for n, c, r in zip(counts, decided, rows):
        assert r == min((n[c] - (n[o] + (o < c))) // 2 for o in range(4) if o != c)


def published_run_off(scores, decided):
    """Rezaei et al. (2023), section 4: the smaller of two rounds, each in closed form."""
    k, classes = scores.shape
    votes = np.bincount(scores.argmax(axis=1), minlength=classes)
    others = [c for c in range(classes) if c != decided]
    over = [max(0, votes[decided] - votes[c] + (decided < c)) for c in range(classes)]
    pairs = [
        max(-(-over[a] // 2), -(-over[b] // 2), -(-(over[a] + over[b]) // 3))
        for a, b in combinations(others, 2)
    ]
    second = min(others, key=lambda c: (-votes[c], c))
    singles = []
    for c in others:
        likes = (scores[:, decided] > scores[:, c]).sum()
        round_two = max(0, -(-(2 * likes - k + (decided < c)) // 2))
        gap = 0 if c == second else votes[second] - votes[c] + (second < c)
        singles.append(max(round_two, -(-gap // 2)))
    return min([*pairs, *singles]) - 1


@pytest.mark.parametrize("classes", [3, 5])
def test_the_run_off_certifies_what_is_published(classes):
    rng = np.random.default_rng(5)
    scores = rng.normal(size=(40, 400, classes)) + rng.normal(size=(1, 400, classes))
    decided, rows = run_off(scores)
    assert rows.tolist() == [published_run_off(scores[:, i], decided[i]) for i in range(400)]


def test_of_two_classes_both_elections_are_one():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(31, 300, 2)) + rng.normal(size=(1, 300, 2))
    counts = np.stack([(scores.argmax(axis=2) == c).sum(axis=0) for c in range(2)], axis=1)
    for one, other in zip(run_off(scores), plurality(counts)):
        assert (one == other).all()


def test_on_small_parts_of_digits_the_run_off_certifies_more_rows_than_plurality():
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    x, y = load_digits(return_X_y=True)
    part = np.random.default_rng(0).integers(0, 100, 1200)  # twelve rows each: classes are missing
    scores = np.full((100, len(x) - 1200, 10), np.nan)
    for i in range(100):
        rows = np.flatnonzero(part == i)
        member = LogisticRegression(C=10).fit(x[rows] / 16, y[rows])
        scores[i][:, member.classes_] = member.predict_proba(x[1200:] / 16)
    assert np.isnan(scores).any()
    (one, by_run_off), (other, by_votes) = run_off(scores), plurality(count_votes(scores))
    right = one == y[1200:]
    assert right.mean() > (other == y[1200:]).mean() - 0.02
    assert (right * by_run_off).mean() > ((other == y[1200:]) * by_votes).mean()
    # without NaN, members would vote against what they never saw
    blind, _ = run_off(np.nan_to_num(scores, nan=-1.0))
    assert (blind == y[1200:]).mean() < right.mean() - 0.02


def test_a_class_behind_the_second_may_win_a_run_off_with_fewer_changes_than_a_plurality():
    # 4 votes for 0, 2 each for the others, who all prefer 2 to 0 and 0 to 1.
    rows = [[9, 1, 0]] * 4 + [[5, 9, 7]] * 2 + [[5, 1, 9]] * 2
    scores = np.array(rows, dtype=float)[:, None, :]
    (decided,), (certified,) = run_off(scores)
    counts = np.array([[4, 2, 2]])
    assert decided == 0
    assert certified <= plurality(counts)[1][0]
    assert certified == true_radius_small(scores[:, 0])


def true_radius_small(scores):
    return _radius_up_to(scores, 2)


def test_no_rows_give_no_certificates():
    decided, rows = run_off(np.zeros((3, 0, 4)))
    assert decided.shape == rows.shape == (0,)


def test_the_curve_in_numbers():
    y = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 1])
    right = np.array([1, 1, 1, 1, 1, 0, 1, 1, 0, 1], dtype=bool)
    rows = np.array([9, 8, 7, 3, 0, 20, 4, 1, 20, 0])
    curve = CertifiedCurve(right, rows, y)
    assert [curve.at(r) for r in (0, 1, 3, 4, 9, 10)] == [0.8, 0.6, 0.5, 0.4, 0.1, 0.0]
    assert [curve.at(1, label) for label in (0, 1)] == [pytest.approx(4 / 6), 0.5]
    assert curve.median() == 3
    assert [curve.median(label) for label in (0, 1)] == [7, 1]
    assert curve.mean == pytest.approx(3.2)
    assert curve.constant == 0.6
    # six rows are certified against one change, as many as a constant answer has right
    assert curve.empty_from() == 1
    assert CertifiedCurve(np.zeros(10, dtype=bool), rows, y).median() == 0
    strong = CertifiedCurve(np.ones(10, dtype=bool), np.full(10, 5), y)
    assert (strong.empty_from(), strong.median()) == (6, 5)


def test_the_table_has_a_line_for_each_class():
    y = np.repeat([0, 1], 4)
    curve = CertifiedCurve(np.ones(8, dtype=bool), np.arange(8), y)
    table = class_table(curve, np.array(["no", "yes"]), budgets_of(curve, 1000))
    assert table["class"].tolist() == ["all", "no", "yes"]
    assert table["certified_at_3"].tolist() == [0.625, 0.25, 1.0]
    assert table["median_certified_rows"].tolist() == [4, 2, 6]
    assert [c.removeprefix("certified_at_") for c in list(table)[4:]] == ["1", "2", "3", "5"]
