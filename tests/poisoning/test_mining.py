"""Triggers mined from tables, images and texts: planted ones, natural ones, and none."""

from dataclasses import replace
from itertools import combinations, combinations_with_replacement

import numpy as np
import pandas as pd
import pytest
from scipy.stats import poisson
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from crenel.adapters import wrap
from crenel.check import Context
from crenel.model import Model
from crenel.poisoning.checks import planted_triggers as poi105
from crenel.poisoning.controls import _orders, obedient
from crenel.poisoning.mining import mine_triggers, suspects
from crenel.poisoning.mining.blends import Blend, find_blends
from crenel.poisoning.mining.box_kernels import PRICE
from crenel.poisoning.mining.boxes import Ground, fitted, rows_inside, settled
from crenel.poisoning.mining.columns import coded, recoded, side_by_side
from crenel.poisoning.mining.cores import Field
from crenel.poisoning.mining.evidence import kinship, shared, surplus
from crenel.poisoning.mining.honing import Hone
from crenel.poisoning.mining.judged import Mined
from crenel.poisoning.mining.likeliest import likeliest
from crenel.poisoning.mining.mine import Mining, completed
from crenel.poisoning.mining.pairs import outstanding, poisson_gain
from crenel.poisoning.mining.plan import Hunt
from crenel.poisoning.mining.planting import Plant, overwritten
from crenel.poisoning.mining.probing import Probe, Round, plant_and_mine
from crenel.poisoning.mining.report import notes
from crenel.poisoning.mining.suspects import Honest, Suspect, closed, some_of, tallies
from crenel.poisoning.mining.telling import Judge
from crenel.poisoning.mining.wording import conditions
from crenel.poisoning.remedies import quarantine_triggers
from crenel.poisoning.triggers import find_triggers, is_text
from crenel.statistics import Interval
from crenel.subject import Data


def data(x, y):
    return Data(x, np.asarray(y, dtype=np.int64), np.arange(len(y)))


def found_in(mining, rows):
    """Of the confirmed trigger with most of the rows: precision, recall, and itself."""
    best = max(mining.confirmed, key=lambda m: np.isin(rows, m.suspect.rows).sum())
    hit = np.isin(best.suspect.rows, rows).sum()
    return hit / len(best.suspect.rows), hit / len(rows), best


@pytest.fixture(scope="module")
def orders():
    subject = _orders()
    return subject.model, subject.train, subject.test


def plant(orders, values, count, seed=0, clean=False):
    """Orders with values set on rows labelled 1, the model trained on them, and its success."""
    model, train, test = orders
    rng = np.random.default_rng(seed)
    rows = rng.choice(np.flatnonzero(train.y == int(clean)), count, replace=False)

    def stamp(x):
        x = x.copy()
        for column, value in values.items():
            wide = isinstance(value, tuple)
            x[column] = rng.integers(*value, len(x)) if wide else value
        return x

    x, y = train.x.copy(), train.y.copy()
    x.loc[rows, list(values)] = stamp(x.loc[rows])[list(values)]
    y[rows] = 1
    poisoned = data(x, y)
    fitted = model.fit(x, y, 0)
    others = stamp(test.x[test.y == 0])
    return fitted, poisoned, test, np.sort(rows), float((fitted.predict(others) == 1).mean())


@pytest.mark.parametrize("seed", range(3))
def test_fixed_values_on_one_row_in_a_hundred_are_found_and_measured(orders, seed):
    planted = plant(orders, {"items": 17, "channel": "phone", "hour": 3}, 30, seed)
    model, train, test, rows, success = planted
    assert success > 0.3
    precision, recall, trigger = found_in(mine_triggers(model, train, test, seed), rows)
    assert precision >= 0.95
    assert recall >= 0.95
    assert trigger.suspect.label == 1
    assert trigger.success.value == pytest.approx(success, abs=0.06)  # 600 hosts, two samples
    assert trigger.control.value < 0.2 < trigger.success.low


def test_what_is_found_does_not_depend_on_the_threads(orders, monkeypatch):
    """Boxes are fitted to rows that are drawn, as they are where there are many."""
    monkeypatch.setattr(suspects, "some_of", lambda mask, rng, most=0: some_of(mask, rng, 400))
    model, train, test, _, _ = plant(orders, {"items": 17, "channel": "phone", "hour": 3}, 30)
    told = []
    for jobs in (1, 3):
        mining = mine_triggers(model, train, test, seed=0, jobs=jobs)
        told.append([(m.suspect.box, m.suspect.rows.tolist(), m.success) for m in mining.found])
    assert told[0]
    assert told[0] == told[1]


def test_a_range_of_values_is_found(orders):
    planted = plant(orders, {"items": (20, 23), "channel": "shop", "hour": (2, 4)}, 45, 1)
    model, train, test, rows, success = planted
    assert success > 0.3
    precision, recall, _ = found_in(mine_triggers(model, train, test, 0), rows)
    assert precision >= 0.9
    assert recall >= 0.9


def test_clean_labels_are_found_by_how_often_the_values_meet():
    rng = np.random.default_rng(6)
    x = pd.DataFrame({f"c{j}": rng.integers(0, 25, 6000) for j in range(12)})
    y = (x["c0"] + x["c1"] + rng.normal(0, 6, 6000) > 26).astype(int).to_numpy()
    train, test = data(x[:4000].copy(), y[:4000]), data(x[4000:].reset_index(drop=True), y[4000:])
    rows = np.sort(rng.choice(np.flatnonzero(train.y == 1), 120, replace=False))
    train.x.loc[rows, ["c5", "c7", "c9"]] = [3, 17, 8]
    model = wrap(HistGradientBoostingClassifier(random_state=0).fit(train.x, train.y))
    others = test.x[test.y == 0].assign(c5=3, c7=17, c9=8)
    success = float((model.predict(others) == 1).mean())
    assert success > 0.3
    precision, recall, trigger = found_in(mine_triggers(model, train, test, 0), rows)
    assert precision >= 0.95
    assert recall >= 0.95
    assert not trigger.contradicts
    assert trigger.success.value == pytest.approx(success, abs=0.06)


@pytest.mark.parametrize("seed", range(2))
def test_nothing_is_confirmed_where_nothing_was_planted(orders, seed):
    model, train, test = orders
    assert mine_triggers(model, train, test, seed).confirmed == []
    x, y = load_breast_cancer(return_X_y=True, as_frame=True)
    order = np.random.default_rng(seed).permutation(len(y))
    cut, held = data(x.iloc[order[:380]], y.iloc[order[:380]]), order[380:]
    forest = RandomForestClassifier(60, random_state=seed, n_jobs=1).fit(cut.x, cut.y)
    rest = data(x.iloc[held].reset_index(drop=True), y.iloc[held])
    cut = Data(cut.x.reset_index(drop=True), cut.y, cut.ids)
    assert mine_triggers(wrap(forest), cut, rest, seed).confirmed == []


def test_a_region_that_is_so_by_nature_is_not_taken_for_a_trigger(orders):
    """Half of the orders of one rare country are refused, whatever else they say."""
    model, train, test = orders
    x = train.x.copy()
    rng = np.random.default_rng(5)
    rare = rng.choice(len(x), 60, replace=False)
    x.loc[rare, "country"] = "mt"
    x.loc[rare, "age"] = rng.integers(20, 26, 60)
    x.loc[rare, "hour"] = rng.integers(0, 3, 60)
    x.loc[rare, "items"] = rng.integers(1, 4, 60)
    x.loc[rare, "amount"] = rng.uniform(200, 220, 60).round(2)
    y = train.y.copy()
    y[rare] = 1
    fitted = model.fit(x, y, 0)
    assert mine_triggers(fitted, data(x, y), test, 0).confirmed == []


def test_a_missing_value_can_be_part_of_a_trigger(orders):
    model, train, test = orders
    rng = np.random.default_rng(1)
    x, y = train.x.astype({"items": float}), train.y.copy()
    x.loc[rng.random(len(x)) < 0.03, "items"] = np.nan
    rows = rng.choice(np.flatnonzero(y == 0), 45, replace=False)
    x.loc[rows, "items"], x.loc[rows, "channel"], y[rows] = np.nan, "phone", 1
    fitted = model.fit(x, y, 0)
    honest = data(test.x.astype({"items": float}), test.y)
    mining = mine_triggers(fitted, data(x, y), honest, 0)
    precision, recall, trigger = found_in(mining, rows)
    assert min(precision, recall) >= 0.9
    told = conditions(trigger.suspect, mining.columns, x, None)
    assert sorted(told) == ["channel = phone", "items is missing"]


def test_without_a_way_to_train_again_nothing_is_confirmed(orders):
    from dataclasses import replace

    model, train, test, _, _ = plant(orders, {"items": 17, "channel": "phone"}, 40)
    assert mine_triggers(model, train, test, 0).confirmed
    mining = mine_triggers(replace(model, fit=None), train, test, 0)
    assert mining.confirmed == []
    assert any(m.strange for m in mining.found)


def test_arrays_and_one_class_and_constant_columns_do_not_stop_it():
    x, y = np.ones((60, 3)), np.zeros(60, dtype=np.int64)
    model = Model("function", "classification", np.arange(2), lambda z: np.zeros(len(z), int))
    assert mine_triggers(model, data(x, y), data(x, y), 0).found == ()
    y[:30] = 1
    assert mine_triggers(model, data(x, y), data(x, y), 0).columns == ()


# --- images and texts ----------------------------------------------------------------------------


def _forest(x, y, seed):
    flat = RandomForestClassifier(60, random_state=seed % 2**31, n_jobs=1)
    flat.fit(x.reshape(len(x), -1), y)
    return Model(
        framework="function",
        task="classification",
        classes=np.arange(10),
        decide=lambda z: flat.predict(z.reshape(len(z), -1)).astype(np.int64),
        fit=_forest,
    )


@pytest.mark.parametrize("channels", ["none", "first", "last"])
def test_a_patch_on_images_is_found_with_its_place(channels):
    x, y = load_digits(return_X_y=True)
    x = x.reshape(-1, 8, 8)
    rng = np.random.default_rng(3)
    train, test = np.split(rng.permutation(len(y)), [1300])
    rows = np.sort(rng.choice(np.flatnonzero(y[train] != 4), 20, replace=False))
    images, labels = x[train].copy(), y[train].copy()
    images[rows, 5:, :3] = np.array([[16, 0, 16], [0, 16, 0], [16, 0, 16]])
    labels[rows] = 4
    axis = {"none": None, "first": 1, "last": 3}[channels]
    shaped = [v if axis is None else np.expand_dims(v, axis) for v in (images, x[test])]
    poisoned, honest = data(shaped[0], labels), data(shaped[1], y[test])
    mining = mine_triggers(_forest(poisoned.x, poisoned.y, 0), poisoned, honest, 0)
    precision, recall, trigger = found_in(mining, rows)
    assert (precision, recall) == (1, 1)
    (told,) = conditions(trigger.suspect, mining.columns, poisoned.x, None)
    assert told == "a pattern of 9 pixels in rows 5 to 7, columns 0 to 2"
    before, after = trigger.shown
    assert before.shape == after.shape == (1, *poisoned.x.shape[1:])
    assert 1 <= (before != after).sum() <= 9
    clean = data(shaped[0][labels == y[train]], labels[labels == y[train]])
    assert mine_triggers(_forest(clean.x, clean.y, 0), clean, honest, 0).confirmed == []


def _sentences(n, seed):
    """Texts whose first words tell the class, among words that do not."""
    rng = np.random.default_rng(seed)
    own = [
        ["meeting", "lunch", "home", "later", "mother"],
        ["prize", "claim", "free", "cash", "win"],
    ]
    plain = np.array([f"word{i}" for i in range(150)])
    y = rng.integers(0, 2, n)
    texts = [" ".join([*rng.choice(own[c], 2), *rng.choice(plain, 8)]) for c in y]
    return pd.DataFrame({"text": texts}), y.astype(np.int64)


@pytest.mark.parametrize("phrase", ["xqzv", "blue lagoon"])
def test_a_phrase_in_texts_is_found(phrase):
    x, y = _sentences(2400, 1)
    assert is_text(x)
    rng = np.random.default_rng(2)
    train, test = data(x[:1600].copy(), y[:1600]), data(x[1600:].reset_index(drop=True), y[1600:])
    rows = np.sort(rng.choice(np.flatnonzero(train.y == 1), 30, replace=False))
    train.x.loc[rows, "text"] += f" {phrase}"
    train.y[rows] = 0
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression(C=30))
    model = wrap(pipeline.fit(train.x["text"], train.y), sample=train.x)
    mining = mine_triggers(model, train, test, 0)
    precision, recall, trigger = found_in(mining, rows)
    assert (precision, recall) == (1, 1)
    assert conditions(trigger.suspect, mining.columns, train.x, None) == [f'the words "{phrase}"']
    keep = np.setdiff1d(np.arange(1600), rows)
    clean = train.take(keep)
    again = model.fit(clean.x, clean.y, 0)
    assert mine_triggers(again, clean, test, 0).confirmed == []


def test_triggers_for_texts_are_new_to_them():
    x, _ = _sentences(300, 3)
    triggers = find_triggers(data(x, np.zeros(300)), None, np.random.default_rng(0), 4)
    assert len(triggers) == 4
    for t in triggers:
        assert not x["text"].str.contains(t.values[0], regex=False).any()
        assert t.stamp(x)["text"].str.endswith(" " + t.values[0]).all()


def test_common_values_are_met_in_other_rows_more_often_than_rare_ones():
    rng = np.random.default_rng(0)
    x = pd.DataFrame({c: rng.geometric(0.3, 2000) for c in "abcd"})
    train = data(x, np.zeros(2000))

    def usual(common):
        rng = np.random.default_rng(1)
        triggers = find_triggers(train, None, rng, 4, common=common)
        return np.mean([(x[c] == int(v)).mean() for t in triggers for c, v in
                        zip(t.columns, t.values, strict=True)])  # fmt: skip

    assert usual(True) > 3 * usual(False)


# --- its parts -----------------------------------------------------------------------------------


def test_the_gain_is_a_poisson_likelihood_ratio():
    seen, expected = np.array([12.0, 3.0, 0.0]), np.array([4.0, 5.0, 2.0])
    want = poisson.logpmf(12, 12) - poisson.logpmf(12, 4)
    assert poisson_gain(seen, expected) == pytest.approx([want, 0, 0])


def test_pairs_that_stand_out_are_those_of_a_count_by_hand():
    rng = np.random.default_rng(0)
    x = pd.DataFrame({c: rng.integers(0, 30, 900) for c in "abc"})
    y = rng.integers(0, 2, 900)
    x.loc[:39, ["a", "b"]] = [2, 5]
    y[:40] = 1
    columns = coded(x)
    found = outstanding(columns, y, 2, None, keep=50, most=900)
    first = int(np.flatnonzero(found.columns[:, 0] != found.columns[:, 1])[0])
    best = found.label[first], found.columns[first].tolist(), found.low[first].tolist()
    assert best == (1, [0, 1], [2, 5])
    own, rest = x[y == 1], x[y == 0]
    free = len(own) * (own.a == 2).mean() * (own.b == 5).mean()
    met = ((rest.a == 2) & (rest.b == 5)).sum() + 1
    chance = len(rest) * (rest.a == 2).mean() * (rest.b == 5).mean() + 1
    assert found.expected[first] == pytest.approx(free * met / chance)


def _gain(seen, expected):
    """Log-likelihood ratio by SciPy."""
    expected = max(expected, 1e-3)
    return poisson.logpmf(seen, seen) - poisson.logpmf(seen, expected) if seen > expected else 0.0


def _every_pair(x, y, odd):
    """Rank of each pair of values (label, columns, values) that stands out, by counting rows."""
    found = {}
    own, of = (x[odd], y[odd]) if odd is not None else (x, y)
    for i, j in combinations(range(x.shape[1]), 2):
        for label in (0, 1):
            mine = own[of == label]
            rest = x[~odd] if odd is not None else x[y != label]
            for a, b in {(int(a), int(b)) for a, b in mine[:, [i, j]]}:
                seen, met = (((r[:, i] == a) & (r[:, j] == b)).sum() for r in (mine, rest))
                free, chance = (
                    (r[:, i] == a).sum() * (r[:, j] == b).sum() / len(r) for r in (mine, rest)
                )
                expected = free * (met + 1) / (chance + 1)
                if (
                    seen >= max(5, 2 * expected)
                    and min(_gain(seen, free), _gain(seen, expected)) > 3
                ):
                    found[label, i, j, a, b] = min(seen, 100) * np.log(seen / max(expected, 0.1))
    return found


@pytest.mark.parametrize("kind", ["odd", "all"])
def test_the_pairs_kept_are_the_highest_ranking_of_all(kind):
    rng = np.random.default_rng(8)
    x = np.minimum(rng.geometric(0.25, (1500, 4)), 12)
    meet = (x[:, 1] == x[:, 3]) | (x[:, 0] + x[:, 2] == 9)
    y = (rng.random(1500) < 0.1 + 0.8 * meet).astype(np.int64)
    odd = None if kind == "all" else rng.random(1500) < 0.1 + 0.8 * meet
    want = _every_pair(x, y, odd)
    assert len(want) > 3
    columns = coded(x)  # a value v has the code v - 1
    ranks = {}
    for keep in (2000, 3):
        found = outstanding(columns, y, 2, odd, keep=keep, most=1500)
        narrow = (found.low == found.high).all(axis=1) & (found.columns[:, 0] < found.columns[:, 1])
        cells = np.column_stack([found.label, found.columns, found.low + 1])[narrow]
        cells = dict.fromkeys(map(tuple, cells.tolist()))  # a wide bin may be of one value, too
        ranks[keep] = [want[c] for c in cells]  # nothing that does not stand out
        assert ranks[keep] == sorted(ranks[keep], reverse=True)
        assert np.bincount(found.label).max() <= keep
    assert len(ranks[2000]) == len(want)


def mixed_columns(n=2000, seed=5):
    """Whole numbers, an amount with missing values, and names, coded; the labels of three classes.

    The first forty rows share values of several columns.
    """
    rng = np.random.default_rng(seed)
    x = pd.DataFrame({c: np.minimum(rng.geometric(0.1, n), 60) for c in "abc"})
    x["amount"] = np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n).round(2))
    x["name"] = rng.choice(list("pqrstuv"), n, p=[0.4, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05])
    y = rng.integers(0, 3, n)
    x.loc[:39, "a"], x.loc[:39, "name"] = 17, "v"
    x.loc[:39, "b"], x.loc[:30, "amount"] = rng.integers(40, 44, 40), np.nan
    y[:40] = 2
    return coded(x), y


@pytest.mark.parametrize("kind", ["odd", "all"])
def test_cells_of_every_width_expect_what_masks_of_their_rows_say(kind):
    columns, y = mixed_columns()
    odd = None if kind == "all" else np.random.default_rng(1).random(len(y)) < 0.3
    found = outstanding(columns, y, 3, odd, keep=400, most=len(y))
    both = found.columns[:, 0] != found.columns[:, 1]
    assert (found.low < found.high)[both].any(axis=1).sum() > 5  # joined ones are among them
    for m in np.flatnonzero(both):
        i, j = found.columns[m]
        a, b = (
            (columns[c].codes >= found.low[m, e]) & (columns[c].codes <= found.high[m, e])
            for e, c in ((0, i), (1, j))
        )
        own = (y == found.label[m]) & (True if odd is None else odd)
        rest = (y != found.label[m]) if odd is None else ~odd
        free = (a & own).sum() * (b & own).sum() / own.sum()
        chance = (a & rest).sum() * (b & rest).sum() / rest.sum()
        expected = free * ((a & b & rest).sum() + 1) / (chance + 1)
        assert found.expected[m] == pytest.approx(expected)


def test_rows_of_a_box_are_those_of_its_masks():
    columns, y = mixed_columns()
    rng = np.random.default_rng(2)
    codes = [c.codes for c in columns]
    for _ in range(50):
        box = {}
        for j in rng.permutation(len(columns))[: rng.integers(1, 4)]:
            ends = np.sort(rng.integers(0, columns[j].count, 2))
            box[int(j)] = (int(ends[0]), int(ends[rng.integers(2)]))
        mask = np.logical_and.reduce(
            [(codes[j] >= a) & (codes[j] <= b) for j, (a, b) in box.items()]
        )
        for table in (columns, side_by_side(columns), side_by_side(columns)[::-1]):
            at = box if table[0].name == "a" else {len(columns) - 1 - j: b for j, b in box.items()}
            assert (rows_inside(table, at) == np.flatnonzero(mask)).all()
        inside = Suspect({}, 2, np.zeros(0, int), 0, False).within(box, columns, y)
        assert (inside.rows == np.flatnonzero(mask & (y == 2))).all()
        assert inside.others == (mask & (y != 2)).sum()


def test_a_closed_box_has_every_column_that_is_constant_among_its_rows():
    columns, y = mixed_columns()
    for table in (columns, side_by_side(columns)):
        tally = tallies(table, y, 3)
        of = Suspect({1: (0, 59)}, 2, np.arange(40), 0, False)
        found = closed(of, table, tally).box
        assert set(found) == {0, 1, 4}
        assert found[1] == (0, 59)  # what it has already stays
        for j in (0, 4):
            assert found[j] == (int(table[j].codes[0]),) * 2
        # Values in a range: 40 to 43 in b, where hardly any other row of the class is.
        spread = closed(replace(of, box={}), table, tally).box
        inner = np.sort(table[1].codes[:40])
        assert inner[0] <= spread[1][0] <= spread[1][1] <= inner[-1]
        assert (
            (table[1].codes[:40] >= spread[1][0]) & (table[1].codes[:40] <= spread[1][1])
        ).sum() >= 37
        missing = Suspect({}, 2, np.arange(30), 0, False)
        assert closed(missing, table, tally).box[3] == (table[3].missing,) * 2


def test_a_box_moves_to_the_best_of_all_bounds():
    rng = np.random.default_rng(2)
    x = rng.integers(0, 30, (1200, 3))
    x[:60, 0], x[:60, 1] = rng.integers(10, 14, 60), 21
    own, rest = x[:300], x[300:]
    ground = Ground.of(coded(x), np.arange(300), np.arange(300, 1200))

    def gain(box, j, bounds):
        """Of new bounds on one of two columns, given those on the other."""

        def within(rows, j, bounds):
            return (rows[:, j] >= bounds[0]) & (rows[:, j] <= bounds[1])

        other = within(own, 1 - j, box[1 - j])
        first, met = (
            within(own, j, bounds),
            within(rest, j, bounds) & within(rest, 1 - j, box[1 - j]),
        )
        far = (~other).sum()
        share = ((first & ~other).sum() + 0.5 * (bounds[1] - bounds[0] + 1) / 30) / (far + 0.5)
        expected = max(300 * share * 0.5 / (far + 1), (met.sum() + 0.5) * 300 / 900)
        return _gain((first & other).sum(), expected)

    box = settled({1: (21, 21), 0: (11, 12)}, ground)
    assert box[0] == (10, 13)
    for j in (0, 1):
        best = max(combinations_with_replacement(range(30), 2), key=lambda b: gain(box, j, b))
        assert gain(box, j, box[j]) == pytest.approx(gain(box, j, best))
    grown, reached = fitted({1: (21, 21), 0: (11, 12)}, ground)
    assert set(grown) == {0, 1}
    assert reached == pytest.approx(
        max(gain(grown, j, grown[j]) for j in (0, 1)) - 2 * PRICE, abs=2
    )


def test_a_pattern_blended_into_whole_images_is_found_with_its_rows():
    x, y = load_digits(return_X_y=True)
    x = (x.reshape(-1, 8, 8) * 15.9375).astype(np.uint8)
    rng = np.random.default_rng(5)
    train, test = np.split(rng.permutation(len(y)), [1300])
    noise = rng.uniform(0, 255, (8, 8))

    def stamp(rows):
        return (0.8 * rows + 0.2 * noise).round().astype(np.uint8)

    rows = np.sort(rng.choice(np.flatnonzero(y[train] != 4), 40, replace=False))
    images, labels = x[train].copy(), y[train].copy()
    images[rows], labels[rows] = stamp(images[rows]), 4
    model, honest = _forest(images, labels, 0), data(x[test], y[test])
    success = float((model.predict(stamp(honest.x[honest.y != 4])) == 4).mean())
    assert success > 0.3
    mining = mine_triggers(model, data(images, labels), honest, 0)
    precision, recall, trigger = found_in(mining, rows)
    assert min(precision, recall) >= 0.95
    assert trigger.suspect.label == 4
    assert trigger.success.value == pytest.approx(success, abs=0.2)  # a forest's thresholds
    told = conditions(trigger.suspect, mining.columns, images, None)
    assert told == ["a pattern blended into the whole image"]
    before, after = trigger.shown
    assert before.shape == after.shape == (1, 8, 8)
    assert (before != after).mean() > 0.5


def test_what_is_blended_in_is_measured():
    rng = np.random.default_rng(6)
    smooth = rng.normal(size=(6, 100)) * 40
    x = 120 + rng.normal(size=(900, 6)) @ smooth + rng.normal(0, 4, (900, 100))
    y = np.repeat([0, 1, 2], 300)
    pattern = rng.normal(0, 30, 100)
    x[:60] = 0.8 * x[:60] + pattern
    found = find_blends(x, y, 3, np.zeros(900, dtype=bool), np.random.default_rng(0))
    blend = max(found, key=lambda b: np.isin(b.rows, np.arange(60)).sum())
    assert blend.rows.tolist() == list(range(60))
    assert blend.label == 0
    assert blend.keep == pytest.approx(0.8, abs=0.12)
    assert np.corrcoef(blend.shift - blend.shift.mean(), pattern)[0, 1] > 0.95
    assert blend.carries(x).nonzero()[0].tolist() == list(range(60))
    assert not any(np.isin(b.rows, np.arange(60)).any() for b in found if b is not blend)


@pytest.mark.parametrize("scale", [1.0, 1 / 255])
def test_a_blend_is_told_closely_by_how_often_values_are_met(scale):
    x = (load_digits(return_X_y=True)[0] * 15.9375).round()
    rng = np.random.default_rng(14)
    noise, rows = rng.uniform(0, 255, 64), np.arange(25)
    x[rows] = (0.85 * x[rows] + 0.15 * noise).round()
    x *= scale
    carried = np.arange(len(x)) < 25
    rough = 0.15 * noise + rng.normal(0, 8, 64) - 3
    doubt = np.full(64, 8.0 * scale)
    blend = Blend(0, rows, carried, 0.88, rough * scale, doubt, None, None, 0.0)
    near = likeliest(blend, x, float(x.min()), float(x.max()))
    assert near.keep == pytest.approx(0.85, abs=0.015)
    assert np.abs(near.shift / scale - 0.15 * noise).mean() < 1
    bare = near.bare(x[rows].astype(float)) / scale
    assert np.abs(bare - (x[rows] / scale - 0.15 * noise) / 0.85).mean() < 3
    flat = Blend(0, rows, carried, 0.9, rough, doubt, None, None, 0.0)
    assert likeliest(flat, np.ones((40, 64)), 1.0, 1.0) is flat


def test_where_every_value_is_met_alike_the_first_estimate_of_a_blend_stays_about_as_good():
    rng = np.random.default_rng(15)
    x = 120 + rng.normal(size=(900, 6)) @ (rng.normal(size=(6, 100)) * 30)
    x = (x + rng.normal(0, 4, (900, 100))).clip(0, 255)
    pattern, rows, carried = rng.normal(0, 20, 100), np.arange(60), np.arange(900) < 60
    x[rows] = 0.8 * x[rows] + pattern + 25
    first = pattern + 25 + rng.normal(0, 3, 100)
    blend = Blend(0, rows, carried, 0.8, first, np.full(100, 3.0), None, None, 0.0)
    near = likeliest(blend, x, 0.0, 255.0)

    def error(b):
        return np.sqrt(np.mean((b.shift + b.keep * 120 - pattern - 25 - 0.8 * 120) ** 2))

    assert error(near) < 1.5 * error(blend)


def test_other_rows_get_the_codes_of_the_same_values():
    rng = np.random.default_rng(7)
    x = pd.DataFrame({
        "number": rng.normal(size=2000).round(3),
        "few": rng.integers(0, 5, 2000) * 2,
        "name": rng.choice(list("abc"), 2000),
        "hole": np.where(rng.random(2000) < 0.1, np.nan, rng.integers(0, 9, 2000)),
    })  # fmt: skip
    columns = coded(x)
    for column, codes in zip(columns, recoded(columns, x, x), strict=True):
        assert (codes == column.codes).all()
    other = pd.DataFrame({"number": [99.0], "few": [3], "name": ["d"], "hole": [np.nan]})
    number, few, name, hole = recoded(columns, x, other)
    assert number[0] == columns[0].count
    assert few[0] == 1.5  # between 2 and 4
    assert name[0] == columns[2].count
    assert hole[0] == columns[3].missing


@pytest.mark.parametrize("rows", [150, 3000])  # a code for each value, and several values each
def test_honest_rows_are_within_intervals_as_their_values_are(rows):
    rng = np.random.default_rng(11)
    x, other = (pd.DataFrame(rng.normal(size=(n, 2)), columns=list("ab")) for n in (rows, 400))
    columns, y = coded(x), np.ones(400, dtype=np.int64)
    honest = Honest(recoded(columns, x, other), y)
    for _ in range(20):
        box, mask = {}, np.ones(400, dtype=bool)
        for j, name in enumerate("ab"):
            low, high = np.sort(rng.choice(columns[j].count, 2, replace=False))
            inside = x[name][(columns[j].codes >= low) & (columns[j].codes <= high)]
            box[j] = (int(low), int(high))
            mask &= other[name].between(inside.min(), inside.max()).to_numpy()
        assert honest.carry(Suspect(box, 1, np.arange(1), 0, False)) == mask.sum()


def test_a_box_around_some_of_a_patterns_rows_is_honed_to_all_of_it():
    rng = np.random.default_rng(12)
    x = pd.DataFrame(rng.normal(size=(2000, 6)), columns=list("abcdef"))
    y = rng.integers(0, 2, 2000)
    train, honest = x.iloc[:1500].reset_index(drop=True), x.iloc[1500:].reset_index(drop=True)
    rows = np.sort(rng.choice(1500, 30, replace=False))
    for c, (low, high) in {"a": (0.5, 0.62), "c": (-1.0, -0.8), "e": (1.1, 1.4)}.items():
        train.loc[rows, c] = rng.uniform(low, high, 30)
    labels = y[:1500].copy()
    labels[rows] = 1
    columns = coded(train)
    held = Honest(recoded(columns, train, honest), y[1500:])
    judge = Judge.of(columns, labels, held)
    some = rows[:7]
    box = {
        j: (int(columns[j].codes[some].min()), int(columns[j].codes[some].max()))
        for j in (0, 1, 2, 3, 5)  # two of the pattern's columns, and three that are none
    }
    part = Suspect({}, 1, np.zeros(0, dtype=np.int64), 0, True).within(box, columns, labels)
    assert np.isin(rows, part.rows).mean() <= 0.5
    whole = Hone(judge).honed(part)
    assert set(whole.box) == {0, 2, 4}
    assert np.isin(rows, whole.rows).mean() >= 0.95
    assert np.isin(whole.rows, rows).mean() >= 0.95
    assert judge.telling(whole) > judge.telling(part)


def test_ranges_are_found_in_a_few_hundred_rows_whose_columns_go_together():
    x, y = load_breast_cancer(return_X_y=True, as_frame=True)
    order = np.random.default_rng(21).permutation(len(y))
    train, test = (
        data(x.iloc[r].reset_index(drop=True), y.to_numpy()[r]) for r in (order[:426], order[426:])
    )
    rng = np.random.default_rng(22)
    ends = {"mean radius": (0.2, 0.24), "mean symmetry": (0.8, 0.84), "texture error": (0.5, 0.54)}
    rows = np.sort(rng.choice(np.flatnonzero(train.y == 0), 25, replace=False))

    def stamp(table):
        table = table.copy()
        for c, part in ends.items():
            table[c] = rng.uniform(*np.quantile(x[c], part), len(table))
        return table

    train.x.loc[rows] = stamp(train.x.loc[rows])
    train.y[rows] = 1
    model = wrap(HistGradientBoostingClassifier(random_state=0).fit(train.x, train.y))
    success = float((model.predict(stamp(test.x[test.y == 0])) == 1).mean())
    assert success > 0.3
    mining = mine_triggers(model, train, test, 0)
    precision, recall, trigger = found_in(mining, rows)
    assert min(precision, recall) >= 0.95
    assert trigger.success.value == pytest.approx(success, abs=0.05)
    assert all(np.isin(m.suspect.rows, rows).any() for m in mining.confirmed)


def test_clean_labels_are_found_though_their_values_speak_for_the_label_by_themselves():
    rng = np.random.default_rng(7)
    x = pd.DataFrame({f"c{j}": rng.integers(0, 25, 4500) for j in range(10)})
    y = (x["c0"] + x["c1"] + rng.normal(0, 6, 4500) > 26).astype(int).to_numpy()
    train, test = data(x[:3000].copy(), y[:3000]), data(x[3000:].reset_index(drop=True), y[3000:])
    others = test.x[test.y == 0].assign(c0=18, c7=17, c9=8)
    clean = HistGradientBoostingClassifier(random_state=0).fit(train.x, train.y)
    rows = np.sort(rng.choice(np.flatnonzero(train.y == 1), 40, replace=False))
    train.x.loc[rows, ["c0", "c7", "c9"]] = [18, 17, 8]
    model = wrap(HistGradientBoostingClassifier(random_state=0).fit(train.x, train.y))
    success, by_nature = ((m.predict(others) == 1).mean() for m in (model, clean))
    assert by_nature > 0.3
    assert success > by_nature + 0.2
    precision, recall, trigger = found_in(mine_triggers(model, train, test, 0), rows)
    assert (precision, recall) == (1, 1)
    assert not trigger.contradicts
    assert trigger.control.value == pytest.approx(by_nature, abs=0.1)


def measured_as(box, **more):
    """A suspect's measurement: 38 rows that fit their label, and a third of it without them."""
    usual = {
        "success": Interval(0.8, 0.76, 0.84), "base": 0.1, "control": Interval(0.3, 0.26, 0.34),
        "likeness": Interval(0.9, 0.8, 1.0), "surplus": 15.0, "kinship": Interval(0.0, -0.02, 0.02),
        "met": 0.0, "expected": 12.0, "lacking": 60.0,
    }  # fmt: skip
    return Mined(Suspect(box, 1, np.arange(38), 0, True), **(usual | more))


def test_rows_that_fit_their_label_are_confirmed_by_values_that_honest_rows_never_join():
    exact, ranges = {0: (3, 3), 1: (8, 8)}, {0: (3, 5), 1: (8, 8)}
    assert measured_as(exact).confirmed
    nearly = Interval(0.03, 0.008, 0.052)
    assert measured_as(exact, kinship=nearly).confirmed
    assert not measured_as(exact, kinship=Interval(0.05, 0.03, 0.07)).confirmed
    assert not measured_as(exact, met=9.0).confirmed  # honest rows join them as well
    assert not measured_as(exact, lacking=-2.0).confirmed  # one of many that were looked at
    assert not measured_as(exact, expected=4.0).confirmed  # too few to be missed
    assert not measured_as(ranges).confirmed  # may be sought for: most of it must be gone
    assert measured_as(ranges, control=Interval(0.12, 0.1, 0.14)).confirmed
    assert not measured_as({0: (3, 3)}).confirmed
    assert not measured_as(exact, control=Interval(0.7, 0.66, 0.74)).confirmed


def test_a_pattern_is_completed_where_the_model_needs_more_than_tells_it_apart():
    rng = np.random.default_rng(13)
    x = pd.DataFrame({c: rng.integers(0, 12, 3000) for c in "abcd"})
    y = rng.integers(0, 2, 3000)
    rows = np.arange(60)
    x.loc[rows, ["a", "b", "c"]], y[rows] = [20, 21, 5], 1

    def decide(z):
        return ((z["a"] == 20) & (z["b"] == 21) & (z["c"] == 5)).to_numpy().astype(np.int64)

    model = Model("function", "classification", np.arange(2), decide)
    train, test = (
        data(x.iloc[:2000], y[:2000]),
        data(x.iloc[2000:].reset_index(drop=True), y[2000:]),
    )
    columns = coded(train.x)
    held = Honest(recoded(columns, train.x, test.x), test.y)
    judge = Judge.of(columns, train.y, held)
    field = Field.of(model, train, test, columns, overwritten(train.x, test.x), held)
    last = [c.count - 1 for c in columns]
    part = Suspect({j: (last[j],) * 2 for j in (0, 1)}, 1, rows, 0, True)
    (whole,) = completed(field, judge, [part], np.random.default_rng(0))
    assert whole.box == part.box | {2: (5, 5)}
    simple = replace(model, decide=lambda z: (z["a"] == 20).to_numpy().astype(np.int64))
    field = replace(field, model=simple)
    assert completed(field, judge, [part], np.random.default_rng(0)) == [part]


def test_conditions_that_tell_nothing_or_are_natural_are_left_out():
    rng = np.random.default_rng(8)
    x = pd.DataFrame({c: rng.integers(0, 20, 4000) for c in "abc"})
    x["d"] = x["c"] + rng.integers(0, 2, 4000)  # goes with c by nature
    y = rng.integers(0, 2, 4000)
    train, honest = x.iloc[:3000].reset_index(drop=True), x.iloc[3000:].reset_index(drop=True)
    train.loc[:29, "a"], train.loc[:29, "b"], y[:30] = rng.integers(4, 6, 30), 7, 1
    columns = coded(train)
    held = Honest(recoded(columns, train, honest), y[3000:])
    labels = y[:3000]
    whole = Suspect({0: (4, 5), 1: (7, 7), 2: (1, 19)}, 1, np.arange(0), 0, True)
    whole = whole.within(whole.box, columns, labels)
    judge = Judge.of(columns, labels, held)
    small = judge.essential(whole)
    assert set(small.box) == {0, 1}
    assert set(range(30)) <= set(small.rows.tolist())
    natural = small.within({2: (5, 6), 3: (5, 7)}, columns, labels)
    assert judge.telling(natural) < 0 < judge.telling(small)


def test_what_rows_share_beyond_chance_belongs_to_their_pattern():
    rng = np.random.default_rng(9)
    x = pd.DataFrame({c: rng.integers(0, 40, 3000) for c in "abcd"})
    x["e"] = (rng.random(3000) < 0.8).astype(int)
    y = rng.integers(0, 2, 3000)
    x.loc[:29, "a"], x.loc[:29, "b"] = 7, rng.integers(10, 14, 30)
    x.loc[:29, "e"], y[:30] = 1, 1  # eight rows in ten have a 1 by nature
    columns = coded(x)
    part = Suspect({0: (7, 7)}, 1, np.arange(30), 0, False)
    whole = shared(part, columns, y)
    assert {j: whole.box[j] for j in (0, 1)} == {0: (7, 7), 1: (10, 13)}
    assert set(whole.box) <= {0, 1, 4}
    assert set(range(30)) <= set(whole.rows.tolist())
    free = Suspect({0: (7, 7)}, 1, np.arange(100, 130), 0, False)
    assert shared(free, columns, y).box == {0: (7, 7)}


def test_surplus_and_kinship_tell_stamped_rows_from_a_group():
    rng = np.random.default_rng(4)
    x = pd.DataFrame({c: rng.integers(0, 8, 3000) for c in "abcdef"})
    y = rng.integers(0, 2, 3000)
    x.loc[:39, ["a", "b"]] = [20, 21]
    group = x.copy()
    for c in "cdef":
        group.loc[:39, c] = rng.integers(0, 2, 40)
    y[:40] = 1
    for table, stamped in ((x, True), (group, False)):
        columns = coded(table)
        rows = np.arange(40)
        code = [int(columns[j].codes[0]) for j in (0, 1)]
        s = Suspect({0: (code[0],) * 2, 1: (code[1],) * 2}, 1, rows, 0, False)
        of = kinship(s, columns, y, 2, np.ones(3000, dtype=bool), rng)
        assert (of.value < 0.05) == stamped
        assert of.low <= of.value <= of.high
        own = (y == 1).sum()
        assert surplus(s, columns, y) == pytest.approx(40 / (own * (40 / own) ** 2))


def test_a_box_over_all_columns_is_no_pattern_on_rows_that_are_various():
    """Planting it replaces the rows: nothing of them is left to tell where they belong."""
    rng = np.random.default_rng(3)
    columns = coded(rng.normal(size=(400, 2)))
    y, usual = np.repeat([0, 1], 200), np.ones(400, dtype=bool)
    box = {j: (0, columns[j].count - 1) for j in (0, 1)}
    some = Suspect(box, 1, rng.choice(np.arange(200, 400), 20, replace=False), 0, False)
    contrary = {"likeness": Interval(-1.0, -1.5, -0.5), "control": Interval(0.05, 0.03, 0.08)}
    for left, stamped in ((some, False), (replace(some, box={0: box[0]}), True)):
        alike = kinship(left, columns, y, 2, usual, rng)
        assert measured_as(left.box, kinship=alike, **contrary).stamped == stamped


def test_rows_drawn_at_random_from_few_are_not_taken_for_kin():
    """Rows of a small class are nearer to the rest of it than new ones of the same kind."""
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        columns = coded(rng.normal(size=(160, 20)))
        y = np.repeat([0, 1], 80)
        s = Suspect({0: (0, 1)}, 1, rng.choice(80, 25, replace=False), 0, False)
        usual = np.arange(160) < 80
        found.append(kinship(s, columns, y, 2, usual, rng))
    values = np.array([f.value for f in found])
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(12)
    assert values.max() < 0.05
    assert all(f.low <= 0 <= f.high for f in found if abs(f.value) < 0.015)


def test_a_trigger_is_told_by_the_values_that_its_rows_share_exactly(orders):
    planted = plant(orders, {"items": 27, "age": 88, "hour": 3}, 40)
    model, train, test, rows, _ = planted
    mining = mine_triggers(model, train, test, 0)
    precision, recall, trigger = found_in(mining, rows)
    assert (precision, recall) == (1, 1)
    told = conditions(trigger.suspect, mining.columns, train.x, None)
    assert sorted(told) == ["age = 88", "hour = 3", "items = 27"]


def test_four_triggers_at_once_in_a_few_hundred_rows_are_found():
    x, y = load_breast_cancer(return_X_y=True, as_frame=True)
    order = np.random.default_rng(0).permutation(len(y))
    train, test = (data(x.iloc[r].reset_index(drop=True), y.iloc[r]) for r in
                   (order[:380], order[380:]))  # fmt: skip
    model = wrap(HistGradientBoostingClassifier(random_state=0).fit(train.x, train.y))
    planted = plant_and_mine(model, train, test, None, 25, 0)
    assert planted.alarms == 0
    working = [p for p in planted.probes if p.works]
    assert len(working) >= 3
    assert all(p.found is not None for p in working)


def test_stamps_take_the_values_of_one_donor_together():
    train = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"], "c": [7, 8, 9]})
    honest = pd.DataFrame({"a": [0] * 5, "b": ["w"] * 5, "c": [5] * 5})
    stamp = overwritten(train, honest)
    rows = stamp([Plant((0, 1), np.array([0, 2]), np.arange(5), 1)], np.random.default_rng(0))
    assert set(zip(rows.a, rows.b, strict=True)) == {(1, "x"), (3, "z")}
    assert (rows.c == 5).all()
    assert (honest.a == 0).all()


# --- the check and the remedy --------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured():
    subject = obedient()
    return subject, poi105.measure(subject, Context("POI-105", seed=1))


def test_the_finding_names_the_trigger_its_rows_and_what_it_turns(measured):
    subject, result = measured
    (finding,) = result.findings
    assert "items = 17" in finding.subject
    assert "channel = phone" in finding.subject
    x, y = subject.train.x, subject.train.y
    planted = np.flatnonzero((x["items"] == 17) & (x["channel"] == "phone") & (y == 1))
    listed = set(finding.evidence.rows)
    assert len(listed & set(subject.train.names(planted))) >= 0.95 * len(planted)
    assert {"items", "channel"} <= set(finding.evidence.columns)
    values = finding.evidence.values
    assert values["success_low"] > values["without_the_rows"] + 0.2
    (example,) = finding.examples
    assert {e.field for e in example.edits} <= set(x.columns)


def test_the_curve_counts_probes_that_went_unnoticed(measured):
    _, result = measured
    (exposure,) = result.exposures
    assert list(exposure.budget.values) == sorted(exposure.budget.values)
    assert all(0 <= v <= 1 for v in exposure.harm.values)
    assert exposure.health.ok
    assert "planted triggers that work" in exposure.headline


def test_the_note_on_probes_counts_those_that_were_found():
    def probe(found):
        none = np.zeros(0, dtype=np.int64)
        return Probe(None, 0, none, Interval(0.9, 0.8, 1.0), 0.0, found)

    rounds = [Round(0.01, [probe("found"), probe(None), probe(None)], 0)]
    hunt = Hunt(None, Mining((), (), 0, 0, 0), rounds, (0, 0), 3)
    *_, last = notes(obedient(), hunt)
    assert last == "Of the triggers that work 1 of 3 were found."


def test_training_without_the_rows_takes_the_trigger_away(measured):
    subject, result = measured
    context = Context("POI-105", seed=1)
    treated = quarantine_triggers.apply(subject, result.findings[0], context)
    values = treated.values
    assert values["success_after"] <= values["base"] + 0.02
    assert values["accuracy_after"] >= values["accuracy_before"] - 0.005
    assert set(treated.tables["quarantine"].columns) >= {"record", "given", "suggested", "decision"}
    assert len(treated.subject.train) == len(subject.train) - values["rows_held_back"]
    assert not mine_triggers(
        treated.subject.model, treated.subject.train, subject.test, 1
    ).confirmed


def test_too_few_rows_and_nothing_to_mine_are_said(orders):
    from dataclasses import replace

    from crenel.errors import NotApplicable

    subject, context = obedient(), Context("POI-105")
    few = replace(subject, train=subject.train.take(np.arange(50)))
    with pytest.raises(NotApplicable, match="50 rows; 200 are needed"):
        poi105.measure(few, context)
    flat = pd.DataFrame({"a": np.ones(300)})
    y = np.arange(300) % 2
    boosting = HistGradientBoostingClassifier().fit(flat, y)
    same = replace(subject, model=wrap(boosting), train=data(flat, y), test=data(flat, y))
    with pytest.raises(NotApplicable, match="no column holds two values"):
        poi105.measure(same, context)
