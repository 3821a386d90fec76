"""Membership inference on planted members, and where there is nothing to infer."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from crenel.adapters import wrap
from crenel.check import Context
from crenel.confidentiality import membership
from crenel.confidentiality.members import Audit, audit, make_pool, rehearse
from crenel.errors import NotApplicable, SubjectError
from crenel.model import Model
from crenel.statistics import auc
from crenel.subject import Data
from crenel.training.shadows import Shadows, complementary_pairs


def noisy(n, d, seed, noise=0.5):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    y = (x[:, 0] > 0).astype(np.int64)
    return x, np.where(rng.random(n) < noise, rng.integers(0, 2, n), y)


def run(estimator, x, y, n, seed=0, pairs=2) -> Audit:
    model = wrap(estimator.fit(x[:n], y[:n]))
    context = Context("CON-101", seed=seed)
    ids = np.arange(len(y))
    pool = make_pool(Data(x[:n], y[:n], ids[:n]), Data(x[n:], y[n:], ids[n:]), context.rng("pool"))
    return audit(model, pool, context, pairs)


def test_a_memoriser_is_seen_through():
    x, y = noisy(800, 4, 0, noise=1.0)
    found = run(ExtraTreesClassifier(30, random_state=0), x, y, 400, pairs=2)
    # Fully grown trees without resampling are sure of members; coin flips cannot be guessed.
    assert found.area(found.best).low > 0.97
    assert found.health.ok, found.health


def test_a_planted_memory_of_some_records_names_them():
    x, y = noisy(1200, 3, 1)
    remembered = np.arange(0, 600, 20)
    secret = {x[i].tobytes() for i in remembered}

    def fit(rows, labels, seed):
        line = LogisticRegression(C=0.01).fit(rows, labels)
        own = {r.tobytes(): label for r, label in zip(rows, labels) if r.tobytes() in secret}

        def score(asked):
            p = line.predict_proba(asked)
            for i, r in enumerate(asked):
                if r.tobytes() in own:
                    p[i] = np.eye(2)[own[r.tobytes()]] * 0.98 + 0.01
            return p

        return Model(
            framework="function",
            task="classification",
            classes=np.array([0, 1]),
            decide=lambda asked: score(asked).argmax(axis=1),
            score=score,
            fit=fit,
        )

    context = Context("CON-101", seed=0)
    pool = make_pool(
        Data(x[:600], y[:600], np.arange(600)),
        Data(x[600:], y[600:], np.arange(600, 1200)),
        context.rng("pool"),
    )
    found = audit(fit(x[:600], y[:600], 0), pool, context, 2)
    exposed = found.exposed(0.01)
    assert set(remembered) <= set(pool.ids[exposed].tolist())
    assert set(pool.ids[exposed[: len(remembered)]].tolist()) <= set(remembered)


def test_without_leakage_the_interval_covers_one_half():
    """The audited model saw none of the candidates: their split means nothing to it."""
    covered = []
    for seed in range(40):
        x, y = noisy(900, 3, seed)
        model = wrap(DecisionTreeClassifier(max_depth=4, random_state=0).fit(x[:300], y[:300]))
        context = Context("CON-101", seed=seed)
        pool = make_pool(
            Data(x[300:600], y[300:600], np.arange(300)),
            Data(x[600:], y[600:], np.arange(300)),
            context.rng("pool"),
        )
        from crenel.confidentiality.likelihood import pair_ratio
        from crenel.training.shadows import train_shadows, true_label

        inside = complementary_pairs(pool.y, 1, context.rng("halves"))
        shadows = train_shadows(model.fit, pool.x, pool.y, inside, context)
        scores = pair_ratio(true_label(model, pool.x, pool.y)[0], shadows.p, shadows.inside)
        area = auc(scores[pool.member], scores[~pool.member])
        covered.append(area.low <= 0.5 <= area.high)
    assert np.mean(covered) >= 0.85  # 95 % nominal; 34 of 40 is below its 0.1 % tail


def test_mean_estimator_reaches_the_optimal_attack():
    """A Gaussian mean of n rows in d dimensions: the best AUC is known in closed form."""
    n, d, rng = 200, 100, np.random.default_rng(3)
    x = rng.normal(size=(2 * n, d))

    def answers(mean):  # log-likelihood of each row under the released mean, as a probability
        return -0.5 * ((x - mean) ** 2).sum(axis=1)

    from crenel.confidentiality.likelihood import likelihood_ratio

    inside = complementary_pairs(np.zeros(2 * n, dtype=int), 64, rng)
    shadows = np.array([answers(x[i].mean(axis=0)) for i in inside])
    scores = likelihood_ratio(answers(x[:n].mean(axis=0)), shadows, inside)
    # Members add 1/n of themselves: the score of a row shifts by d/n, with variance about d/n.
    best = norm.cdf(np.sqrt(d / n) / np.sqrt(2))
    area = auc(scores[:n], scores[n:])
    assert area.low - 0.08 <= best <= area.high + 0.08


def test_rehearsal_looks_at_shadows_alone_and_notices_a_shifted_split():
    rng = np.random.default_rng(4)
    n = 1000
    inside = complementary_pairs(np.zeros(n, dtype=int), 3, rng)
    base = rng.uniform(0.3, 0.6, n)
    p = np.clip(base + 0.2 * inside + 0.02 * rng.normal(size=inside.shape), 0.01, 0.99)
    split = rng.random(n) < 0.5
    _, placebo = rehearse(Shadows(inside, p, p > 0.5, 0, 0.0), split)
    assert placebo.low <= 0.5 <= placebo.high
    # A first shadow that answers the train rows better for a reason other than membership.
    p[0] += 0.05 * split
    _, shifted = rehearse(Shadows(inside, p, p > 0.5, 0, 0.0), split)
    assert shifted.low > 0.52


def test_membership_takes_own_labels_frames_and_says_what_it_cannot_measure():
    import pandas as pd

    x, y = noisy(400, 3, 5)
    frame = pd.DataFrame(x, columns=["a", "b", "c"])
    names = np.array(["no", "yes"])[y]
    model = KNeighborsClassifier(1).fit(frame[:200], names[:200])
    found = membership(
        model, (frame[:200], names[:200]), (frame[200:], names[200:]), seed=1, shadows=4
    )
    assert found.budget.values[0] == pytest.approx(1 / 200)
    assert found.harm.values[-1] == 1.0
    assert list(found.harm.values) == sorted(found.harm.values)
    assert found.role == "attack"
    again = membership(
        model, (frame[:200], names[:200]), (frame[200:], names[200:]), seed=1, shadows=4
    )
    assert again.harm == found.harm
    with pytest.raises(SubjectError, match="maybe"):
        membership(model, (frame[:200], np.full(200, "maybe")), (frame[200:], names[200:]))
    with pytest.raises(SubjectError, match="too few"):
        membership(model, (frame[:10], names[:10]), (frame[200:], names[200:]))


def test_a_model_that_cannot_be_trained_again_is_not_applicable():
    x, y = noisy(200, 2, 6)
    line = LogisticRegression().fit(x[:100], y[:100])
    with pytest.raises(NotApplicable, match="no fit"):
        membership(wrap(line.predict_proba, classes=(0, 1)), (x[:100], y[:100]), (x[100:], y[100:]))


def test_rows_on_both_sides_are_no_non_members():
    x, y = noisy(200, 2, 7)
    pool = make_pool(
        Data(x[:120], y[:120], np.arange(120)),
        Data(x[80:], y[80:], np.arange(120)),
        np.random.default_rng(0),
    )
    assert pool.duplicates == 40
    assert (~pool.member).sum() == 80


def test_a_row_is_the_same_where_its_column_has_another_type():
    age = np.arange(60)
    train = pd.DataFrame({"age": age, "pay": age * 1.5})
    # One missing value makes the column of the test file one of floats.
    test = pd.DataFrame({"age": [*age[:30].astype(float), *np.arange(100.0, 129.0), np.nan]})
    test["pay"] = test["age"] * 1.5
    y = np.zeros(60, dtype=np.int64)
    pool = make_pool(Data(train, y, age), Data(test, y, age + 60), np.random.default_rng(0))
    assert pool.duplicates == 30
    assert int((~pool.member).sum()) == 30
