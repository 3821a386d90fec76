"""The gate for incoming batches, with faults planted one at a time."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import fisher_exact

from crenel.cli.entry import run
from crenel.errors import SubjectError
from crenel.provenance.incoming import contradicted, contradicting, gate
from crenel.provenance.label_mix import label_shift
from crenel.provenance.outcome import exit_code
from crenel.provenance.recording import record
from crenel.provenance.rows import Roles
from crenel.provenance.trust import read_trust

ROLES = Roles("bought", "vendor", ("id",))


def made(n, seed, start=0, yes=0.4):
    """Rows of two vendors whose label depends on nothing but chance."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "id": np.arange(start, start + n),
            "age": rng.integers(18, 90, n),
            "pay": rng.normal(size=n),
            "bought": np.where(rng.random(n) < yes, "yes", "no"),
            "vendor": rng.choice(["acme", "beta"], n),
        }
    )


@pytest.fixture
def place(tmp_path, monkeypatch, private):
    monkeypatch.chdir(tmp_path)
    made(3000, 0).to_parquet("trusted.parquet", index=False)
    record([tmp_path / "trusted.parquet"], tmp_path / "trusted.json", roles=ROLES, private=private)
    return tmp_path


def judged(place, batch, **settings):
    batch.to_csv(place / "batch.csv", index=False)
    tests = gate(place / "batch.csv", place / "trusted.json", **settings)
    return tests, {t.name for t in tests if not t.passed}


def policy(place, key, text=""):
    rules = f'[[source]]\nname = "*"\nkeys = ["{key[1]}"]\n'
    (place / "trust.toml").write_text(f"{rules}{text}")
    return read_trust(place / "trust.toml")


def test_a_batch_like_the_trusted_rows_passes(place):
    tests, failed = judged(place, made(400, 1, start=10_000))
    assert not failed
    assert {t.name for t in tests} == {
        "columns", "duplicates", "keys", "conflicts", "conflicts within", "labels",
        "label mix acme", "label mix beta",
    }  # fmt: skip


def test_sound_batches_rarely_fail(place):
    failed = [judged(place, made(200, s, start=10_000))[1] for s in range(1, 41)]
    assert sum(map(bool, failed)) <= 2  # 0.4 are expected


def test_turned_labels_of_known_content_are_contradictions(place):
    old = pd.read_parquet("trusted.parquet").head(30)
    turned = old.assign(id=old["id"] + 10_000, bought=old["bought"].map({"yes": "no", "no": "yes"}))
    batch = pd.concat([made(400, 1, start=20_000), turned])
    tests, failed = judged(place, batch)
    assert failed == {"conflicts"}
    (found,) = (t for t in tests if t.name == "conflicts")
    assert found.details["rows"] == list(range(400, 430))
    assert found.details["p"] == pytest.approx(
        fisher_exact([[30, 400], [0, 3000]], alternative="greater")[1]
    )


def test_contradictions_within_the_batch_count_too(place):
    batch = made(400, 1, start=10_000)
    twins = batch.head(20).assign(
        id=batch["id"].head(20) + 5000,
        bought=batch["bought"].head(20).map({"yes": "no", "no": "yes"}),
    )
    tests, failed = judged(place, pd.concat([batch, twins]))
    assert failed == {"conflicts within"}
    assert len(next(t for t in tests if not t.passed).details["rows"]) == 40


def test_as_many_contradictions_as_usual_pass_and_a_limit_is_a_limit(place, key, tmp_path, private):
    """Where the trusted rows contradict each other, so may the batch's."""
    rng = np.random.default_rng(5)
    coarse = made(3000, 0).assign(age=rng.integers(0, 300, 3000), pay=0.0)
    coarse.to_parquet("trusted.parquet", index=False)
    record([tmp_path / "trusted.parquet"], tmp_path / "trusted.json", roles=ROLES, private=private)
    batch = made(300, 1, start=10_000).assign(age=rng.integers(0, 300, 300), pay=0.0)
    tests, failed = judged(place, batch)
    assert next(t for t in tests if t.name == "conflicts").details["trusted"] > 2500
    assert not failed
    strict = policy(place, key, "[gate]\nconflicts = 0.01\n")
    assert "conflicts" in judged(place, batch, trust=strict)[1]


def test_repeats_are_counted_and_limited(place, key):
    old = pd.read_parquet("trusted.parquet")
    batch = pd.concat(
        [made(90, 1, start=10_000), old.iloc[[7] * 10].assign(id=range(20_000, 20_010))]
    )
    tests, failed = judged(place, batch)
    assert not failed
    assert next(t for t in tests if t.name == "duplicates").details["rows"] == list(range(90, 100))
    strict = policy(place, key, "[gate]\nduplicates = 0.05\n")
    assert "duplicates" in judged(place, batch, trust=strict)[1]


def test_a_key_that_is_taken_fails(place):
    batch = made(50, 1, start=2999)
    tests, failed = judged(place, batch)
    assert failed == {"keys"}
    assert next(t for t in tests if t.name == "keys").details["rows"] == [0]


def test_one_sources_labels_that_shift_fail_and_the_others_do_not(place):
    batch = made(600, 1, start=10_000)
    beta = batch["vendor"] == "beta"
    batch.loc[beta, "bought"] = np.where(
        np.random.default_rng(2).random(beta.sum()) < 0.8, "yes", "no"
    )
    assert judged(place, batch)[1] == {"label mix beta"}


def test_labels_that_nobody_knows_fail(place):
    batch = made(600, 1, start=10_000)
    batch.loc[3, "bought"] = "maybe"
    tests, failed = judged(place, batch)
    assert failed == {"labels"}
    assert "'maybe'" in next(t for t in tests if t.name == "labels").sentence


def test_other_columns_end_the_comparison(place):
    tests, failed = judged(place, made(50, 1, start=10_000).rename(columns={"age": "years"}))
    assert failed == {"columns"}
    assert "'age' is missing, 'years' is new" in tests[-1].sentence
    mixed = made(50, 1, start=10_000).astype({"age": object})
    mixed.loc[3, "age"] = "old"
    with pytest.raises(SubjectError, match="'age' is declared as int"):
        judged(place, mixed)


def test_a_new_source_is_judged_and_its_share_counted(place, key):
    batch = made(400, 1, start=10_000).assign(vendor="gamma")
    assert not judged(place, batch)[1]
    (place / "trust.toml").write_text(f'[[source]]\nname = "*"\nkeys = ["{key[1]}"]\nshare = 0.1\n')
    tests, failed = judged(place, batch, trust=read_trust(place / "trust.toml"))
    assert failed == {"share gamma", "signature"}
    assert "11.8% of the rows" in next(t for t in tests if t.name == "share gamma").sentence


def test_a_signed_batch_is_verified_through_the_command(place, key, private, capsys):
    policy(place, key)
    made(400, 1, start=10_000).to_parquet("batch.parquet", index=False)
    record([place / "batch.parquet"], place / "batch.json", roles=ROLES, private=private)
    arguments = ["provenance", "gate", "batch.json", "--trusted", "trusted.json"]
    arguments += ["--policy", "trust.toml"]
    assert run(arguments) == 0
    assert "batch.parquet is as recorded" in capsys.readouterr().out
    made(400, 2, start=10_000).to_parquet("batch.parquet", index=False)
    assert run([*arguments, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert {t["name"] for t in told["tests"] if not t["passed"]} == {"batch.parquet"}
    record([place / "batch.parquet"], place / "batch.json", roles=Roles("bought"), private=private)
    assert run(arguments) == 1
    assert "another label, source or key" in capsys.readouterr().out


def test_limits_alone_need_no_key(place):
    (place / "trust.toml").write_text("[gate]\nduplicates = 0.0\n")
    tests, failed = judged(place, made(90, 1, start=10_000), trust=read_trust(place / "trust.toml"))
    assert not failed
    assert "signature" not in {t.name for t in tests}


def test_an_unsigned_batch_fails_where_keys_are_trusted(place, public):
    tests, failed = judged(place, made(50, 1, start=10_000), keys=[public])
    assert failed == {"signature"}
    assert exit_code(tests) == 1


def test_amounts_are_compared_as_amounts(place, private):
    for name, shift in (("trusted", 0), ("batch", 0), ("moved", 1.0)):
        frame = made(500, len(name), start=1000 * len(name)).rename(columns={"pay": "price"})
        frame["price"] += shift
        frame.to_parquet(place / f"{name}.parquet", index=False)
    roles = Roles("price", "vendor", ("id",))
    record([place / "trusted.parquet"], place / "trusted.json", roles=roles, private=private)
    assert exit_code(gate(place / "batch.parquet", place / "trusted.json")) == 0
    failed = {t.name for t in gate(place / "moved.parquet", place / "trusted.json") if not t.passed}
    assert failed == {"label mix acme", "label mix beta"}


def test_many_kinds_of_labels_are_compared_in_bounded_time(place, private):
    rng = np.random.default_rng(0)
    for name, top in (("trusted", 300), ("batch", 300), ("moved", 30)):
        frame = made(4000 if name == "trusted" else 800, len(name), start=10_000 * len(name))
        frame["bought"] = [f"kind {k}" for k in rng.integers(0, top, len(frame))]
        frame.to_parquet(place / f"{name}.parquet", index=False)
    record([place / "trusted.parquet"], place / "trusted.json", roles=ROLES, private=private)
    verdicts = [
        {t.name for t in gate(place / f"{n}.parquet", place / "trusted.json") if not t.passed}
        for n in ("batch", "moved")
    ]
    assert verdicts == [set(), {"label mix acme", "label mix beta"}]


def test_contradictions_are_those_of_counting():
    rng = np.random.default_rng(0)
    content, labels = rng.integers(0, 30, 100), rng.integers(0, 3, 100)
    kinds = {c: set(labels[content == c]) for c in range(30)}
    assert contradicted(content, labels).tolist() == [len(kinds[c]) > 1 for c in content]
    new, given = rng.integers(0, 60, 50), rng.integers(0, 3, 50)
    assert contradicting(new, given, content, labels).tolist() == [
        bool(kinds.get(c, set()) - {g}) for c, g in zip(new, given)
    ]


@pytest.mark.parametrize(
    "counts", [([40, 60], [9, 1]), ([4, 6, 2], [3, 0, 1]), ([1000, 3], [9, 1])]
)
def test_small_samples_are_compared_exactly(counts):
    """Of all ways to draw the second sample from both, the share that is as far off."""
    from itertools import product
    from math import comb, prod

    before, now = map(np.array, counts)
    both, m = before + now, now.sum()
    expected = both * (m / both.sum())
    ways = {}
    for drawn in product(*(range(min(b, m) + 1) for b in both)):
        if sum(drawn) == m:
            far = float(((np.array(drawn) - expected) ** 2 / expected).sum())
            ways[drawn] = far, prod(comb(int(b), d) for b, d in zip(both, drawn))
    total = comb(int(both.sum()), int(m))
    exact = sum(w for far, w in ways.values() if far >= ways[tuple(now)][0] - 1e-9) / total
    distance, p = label_shift(before, now)
    assert p == pytest.approx(exact, abs=4 * np.sqrt(exact / 20_000) + 2e-4)
    assert distance == pytest.approx(np.abs(before / before.sum() - now / m).sum() / 2)
