"""Tests of the data itself, against brute force, closed forms, planted poison and clean data."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.neighbors import NearestNeighbors

from crenel.check import Context
from crenel.poisoning.checks import traces as poi104
from crenel.poisoning.traces.columns import calibrated, is_identifier, telling_columns
from crenel.poisoning.traces.contents import contradictions, distinct_contents
from crenel.poisoning.traces.forest import nearest
from crenel.poisoning.traces.order import find_bursts, time_order
from crenel.poisoning.traces.planting import collisions, noisy_copies
from crenel.poisoning.traces.search import crowding, labels_of
from crenel.poisoning.traces.sketch import sketch
from crenel.subject import Data, Subject, join_rows, take_rows

ADULT = Path(__file__).parents[3] / "shared" / "data" / "04_adult" / "adult-train.csv"


def data(x, y):
    return Data(x, np.asarray(y), np.arange(len(y)))


def measured(x, y, seed=0, **more):
    subject = Subject("rows", train=Data(x, np.asarray(y), np.arange(len(y)), **more))
    return poi104.measure(subject, Context("POI-104", seed=seed, deadline=0.0))


def blobs(n=1500, d=6, seed=0):
    """Two overlapping classes; numbers, a category and missing values."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    x = pd.DataFrame(rng.standard_normal((n, d)) + y[:, None], columns=list("abcdef")[:d])
    x["kind"] = np.array(["red", "green", "blue"])[rng.integers(0, 3, n)]
    x.loc[rng.random(n) < 0.1, "a"] = np.nan
    return x, y


def test_equal_rows_have_one_content_whatever_their_columns():
    x, _ = blobs(300)
    x["when"] = pd.Timestamp("2026-01-01")
    x["tone"] = x["kind"].astype("category")
    rows = np.array([*range(300), 5, 5, 17])
    found = distinct_contents(take_rows(x, rows))
    assert len(found.first) == 300
    assert found.repeated == 3
    assert found.of[300] == found.of[301] == found.of[5] != found.of[17] == found.of[302]
    image = np.random.default_rng(0).integers(0, 255, (20, 5, 3), dtype=np.uint8)
    again = distinct_contents(np.concatenate([image, image[3:4]]))
    assert again.repeated == 1
    assert again.of[20] == again.of[3]
    zeros = np.array([[0.0, np.nan], [-0.0, np.nan], [0.0, 1.0]])
    assert distinct_contents(zeros).repeated == 1


def test_the_sketch_keeps_distances():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((400, 40))
    scale = np.subtract(*np.percentile(x, [75, 25], axis=0)) / 1.349
    true = np.arcsinh((x - np.median(x, axis=0)) / scale)
    z = sketch(pd.DataFrame(x))
    a, b = rng.integers(0, 400, (2, 300))
    ratio = (
        np.linalg.norm(z[a] - z[b], axis=1)[a != b]
        / np.linalg.norm(true[a] - true[b], axis=1)[a != b]
    )
    assert abs(np.median(ratio) - 1) < 0.05
    assert ratio.std() < 0.2
    words = pd.DataFrame({"colour": ["red", "blue", "red", None] * 50})
    z = sketch(words)
    assert np.array_equal(z[0], z[2])
    assert np.linalg.norm(z[0] - z[1]) == pytest.approx(1, abs=0.4)
    assert np.linalg.norm(z[0] - z[3]) > 0.5


def test_texts_are_compared_by_their_words():
    text = "please call the number below to claim the prize that you have won today"
    others = [f"word{i} thing{i} other{i} more{i} last{i}" for i in range(100)]
    z = sketch(pd.DataFrame({"text": [text, text.replace("today", "now"), *others]}))
    near, far = np.linalg.norm(z[0] - z[1]), np.linalg.norm(z[0] - z[2:], axis=1)
    assert near < 0.5 < 0.9 < far.min()


def test_neighbours_are_those_of_a_full_comparison():
    rng = np.random.default_rng(2)
    small = rng.standard_normal((900, 32)).astype(np.float32)
    want = NearestNeighbors(n_neighbors=5).fit(small).kneighbors(small)[1][:, 1:]
    assert (nearest(small, 4)[0] == want).mean() > 0.999
    large = rng.standard_normal((9000, 32)).astype(np.float32)
    twins = large[:500] + 0.01 * rng.standard_normal((500, 32)).astype(np.float32)
    rows, distances = nearest(np.concatenate([large, twins]), 4)
    assert (rows[:500, 0] == 9000 + np.arange(500)).mean() > 0.97
    assert (np.diff(distances, axis=1) >= 0).all()
    for row in rows[:200]:
        assert len(set(row.tolist())) == 4


def test_contradictions_are_held_against_the_binomial():
    x = pd.DataFrame({"a": [1, 1, 2, 2, 3, 3, 3, 4, 5]})
    y = np.array([0, 1, 0, 0, 1, 1, 0, 1, 0])
    found = contradictions(distinct_contents(x), y, 0.2)
    assert (found.groups, found.conflicting) == (3, 2)
    assert found.rows.tolist() == [0, 1, 4, 5, 6]
    mean = (0.2 + 0.2 + 1 - 0.8**2) / 3
    assert found.expected == pytest.approx(3 * mean)
    assert found.p == pytest.approx(binom.sf(1, 3, mean))


def planted_copies(x, y, bases, copies, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(y), bases, replace=False)
    more = [noisy_copies(x, int(r), copies, rng) for r in rows]
    labels = np.concatenate([y, np.repeat(1 - y[rows], copies)])
    return join_rows([x, *more]), labels, len(y)


@pytest.mark.parametrize("bases", [1, 3])
def test_near_copies_with_another_label_are_found_and_no_others(bases):
    x, y = blobs()
    crowded, labels, n = planted_copies(x, y, bases, 10)
    blamed = crowding(data(crowded, labels), labels).blamed
    assert (blamed >= n).mean() > 0.95
    assert len(blamed) >= 0.9 * 10 * bases
    assert not len(crowding(data(x, y), y).blamed)


def test_collisions_around_a_target_are_found_in_images():
    digits = load_digits()
    x, y = digits.images, digits.target
    rng = np.random.default_rng(3)
    target, keep = x[40:41], np.delete(np.arange(len(y)), 40)
    label = (y[40] + 1) % 10
    moved = collisions(x, rng.choice(np.flatnonzero(y == label), 18), target)
    together = join_rows([x[keep], moved])
    labels = np.append(y[keep], np.full(18, label))
    blamed = crowding(data(together, labels), labels).blamed
    assert set(blamed.tolist()) >= set(range(len(keep), len(keep) + 16))
    assert (blamed >= len(keep)).mean() > 0.95


def test_natural_repeats_are_no_attack():
    x, y = blobs()
    rng = np.random.default_rng(4)
    rows = rng.integers(0, len(y), 60)
    copies = [noisy_copies(x, int(r), 6, rng) for r in rows]
    labels = np.append(y, np.repeat(y[rows], 6))
    assert not measured(join_rows([x, *copies]), labels).findings


@pytest.mark.parametrize("load", [load_breast_cancer, load_digits, load_wine])
def test_clean_data_raises_no_alarm(load):
    loaded = load(as_frame=True)
    found = measured(loaded.data, loaded.target.to_numpy())
    assert not found.findings
    assert [e.series for e in found.exposures] == ["copies", "collisions"]


@pytest.mark.parametrize("seed", range(3))
def test_noise_raises_no_alarm(seed):
    x, y = blobs(seed=10 + seed)
    rng = np.random.default_rng(seed)
    assert not measured(x, rng.permutation(y)).findings


@pytest.mark.skipif(not ADULT.exists(), reason="Adult is not here")
def test_amplified_duplicates_in_adult():
    frame = pd.read_csv(ADULT, header=None, skipinitialspace=True).sample(10_000, random_state=0)
    x, y = frame.iloc[:, :-1].reset_index(drop=True), (frame.iloc[:, -1] == ">50K").to_numpy(int)
    x.columns = [f"c{i}" for i in range(14)]
    assert not len(crowding(data(x, y), y).blamed)
    crowded, labels, n = planted_copies(x, y, 20, 10)
    blamed = crowding(data(crowded, labels), labels).blamed
    assert (blamed >= n).mean() >= 0.9
    assert (blamed >= n).sum() >= 0.95 * 200


def test_contradicting_exact_duplicates_are_a_finding_with_their_sources():
    x, y = blobs()
    rows = np.arange(0, 300, 10)
    source = np.array(["a"] * len(y) + ["mallory"] * len(rows))
    found = measured(join_rows([x, take_rows(x, rows)]), np.append(y, 1 - y[rows]), source=source)
    finding = {f.subject: f for f in found.findings}["contradicting duplicates"]
    assert set(finding.evidence.rows) == {*rows.tolist(), *range(len(y), len(y) + 30)}
    assert finding.evidence.values["by_source"]["mallory"] == 30
    assert any("2 sources" in note for note in found.notes)


def test_a_burst_is_found_where_the_rest_is_in_no_order():
    rng = np.random.default_rng(5)
    y = rng.integers(0, 2, 4000)
    order = np.arange(4000)
    assert find_bursts(y, order) == ([], False)
    y[1000:1064] = 1
    (burst,), ordered = find_bursts(y, order)
    assert not ordered
    assert 990 <= burst.start <= 1010
    assert set(burst.rows.tolist()) >= set(range(1010, 1055))
    assert find_bursts(np.sort(y), order) == ([], True)
    drift = (rng.random(4000) < np.linspace(0.1, 0.9, 4000)).astype(int)
    assert find_bursts(drift, order, timed=True) == ([], True)


def test_false_alarms_of_the_scan_are_rare():
    rng = np.random.default_rng(6)
    runs = [find_bursts(rng.integers(0, 3, 600), np.arange(600)) for _ in range(200)]
    assert sum(bool(found) or ordered for found, ordered in runs) <= 6  # 1 % of 200, and chance


def test_rows_are_put_in_the_order_of_time():
    when = [f"2026-01-{1 + (7 * i) % 28:02d}" for i in range(60)]
    name, order = time_order(pd.DataFrame({"a": range(60), "day": when}))
    assert name == "day"
    assert (np.diff(pd.to_datetime(pd.Series(when)).to_numpy()[order]) >= np.timedelta64(0)).all()
    assert time_order(pd.DataFrame({"a": range(60)}))[0] == ""


def test_a_copy_of_the_label_a_prediction_and_an_identifier_tell_it():
    rng = np.random.default_rng(7)
    n = 3000
    signal = rng.standard_normal(n)
    p = 1 / (1 + np.exp(-2 * signal))
    y = (rng.random(n) < p).astype(int)
    x = pd.DataFrame({"a": signal + rng.standard_normal(n), "b": rng.standard_normal(n)})
    x["serial"] = rng.permutation(n)
    assert telling_columns(x, y) == ([], ["serial"])
    copied = x.assign(outcome=np.where(rng.random(n) < 0.03, 1 - y, y))
    (leak,), _ = telling_columns(copied, y)
    assert (leak.name, leak.kind) == ("outcome", "leak")
    assert leak.told > 0.5 > leak.rest
    sure = (rng.random(n) < 1 / (1 + np.exp(-8 * signal))).astype(int)
    assert telling_columns(x.assign(a=signal), sure)[0] == []  # a strong amount is no copy
    (forgotten,), _ = telling_columns(x.assign(score=p), y)
    assert (forgotten.name, forgotten.kind) == ("score", "prediction")
    numbered = x.assign(serial=np.argsort(np.argsort(y + rng.random(n) * 2)))
    (identifier,), _ = telling_columns(numbered, y)
    assert (identifier.name, identifier.kind) == ("serial", "identifier")


def test_identifiers_and_probabilities_are_told_from_amounts():
    rng = np.random.default_rng(8)
    assert is_identifier(pd.Series([f"r{i}" for i in range(100)]))
    assert is_identifier(pd.Series(range(500, 600)))
    assert not is_identifier(pd.Series(rng.integers(0, 10**9, 100)))
    assert not is_identifier(pd.Series(rng.random(100)))
    p = rng.random(2000)
    assert calibrated(p, rng.random(2000) < p)
    assert not calibrated(p, rng.random(2000) < p**3)


def test_a_regression_is_taken_in_fifths():
    y = np.random.default_rng(9).normal(size=1000)
    assert np.bincount(labels_of(data(np.zeros((1000, 1)), y))).tolist() == [200] * 5


def test_what_the_probes_lose_falls_with_the_rows_planted():
    x, y = blobs(1200)
    subject = Subject("rows", train=data(x, y))
    found = poi104.measure(subject, Context("POI-104"))
    for exposure in found.exposures:
        assert exposure.health.ok, exposure.health
        assert exposure.budget.values[0] == 2
        assert exposure.harm.values[0] == 1  # two rows are no cluster
    copies = found.exposures[0]
    assert copies.harm.values[-1] == 0
    assert copies.n >= 5


def test_planted_rows_stay_what_rows_are():
    x, _ = blobs(200)
    x["count"] = np.where(np.arange(200) % 3, 0, np.arange(200))
    copies = noisy_copies(x, 3, 40, np.random.default_rng(0))
    assert (copies.dtypes == x.dtypes).all()
    assert (copies["kind"] == x["kind"][3]).all()
    assert (copies["count"] == np.round(copies["count"])).all()
    assert copies["b"].nunique() == 40
    target = take_rows(x, np.array([7]))
    moved = collisions(x, np.arange(20), target)
    np.testing.assert_allclose(moved["b"], x["b"][7] + 0.1 * (x["b"][:20] - x["b"][7]))
