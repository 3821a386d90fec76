"""The gate's look at the rows themselves, with faults planted one at a time."""

import json

import numpy as np
import pandas as pd
import pytest

from crenel.cli.entry import run
from crenel.poisoning.traces.planting import noisy_copies
from crenel.provenance.incoming import gate
from crenel.provenance.recording import record
from crenel.provenance.rows import Roles


def made(n, seed, start=0):
    """Rows whose label follows from them, but not always."""
    rng = np.random.default_rng(seed)
    x = pd.DataFrame(rng.normal(size=(n, 5)), columns=list("abcde"))
    label = np.where(x["a"] + 0.5 * rng.normal(size=n) > 0, "yes", "no")
    return x.assign(
        kind=rng.choice(["red", "blue"], n), bought=label, id=np.arange(start, start + n)
    )


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made(2000, 0).to_parquet("trusted.parquet", index=False)
    roles = Roles("bought", None, ("id",))
    record([tmp_path / "trusted.parquet"], tmp_path / "trusted.json", roles=roles)
    return tmp_path


def failed(place, batch):
    batch.to_parquet(place / "batch.parquet", index=False)
    tests = gate(place / "batch.parquet", place / "trusted.json", contents=True)
    assert {"clusters", "bursts"} <= {t.name for t in tests}
    return {t.name: t for t in tests if not t.passed}


def test_a_sound_batch_passes(place):
    assert not failed(place, made(300, 1, 10_000))


def test_near_copies_with_another_label_are_named(place):
    batch = made(300, 2, 10_000)
    row = int(np.argmax(batch["a"]))  # surely a yes
    copies = noisy_copies(batch, row, 10, np.random.default_rng(0)).assign(bought="no")
    copies["id"] = np.arange(20_000, 20_010)
    mixed = pd.concat([batch, copies], ignore_index=True).sample(frac=1, random_state=0)
    found = failed(place, mixed)
    assert set(found) == {"clusters"}
    planted = np.flatnonzero(mixed["id"].to_numpy() >= 20_000)
    assert set(found["clusters"].details["rows"]) == set(planted.tolist())


def test_a_stretch_of_one_label_is_named(place):
    batch = made(1000, 3, 10_000)
    batch.loc[400:440, "bought"] = "yes"
    found = failed(place, batch)
    assert "bursts" in found
    assert set(found["bursts"].details["rows"]) >= set(range(405, 430))


def test_without_the_trusted_rows_the_test_is_not_made(place, capsys):
    made(300, 1, 10_000).to_parquet(place / "batch.parquet", index=False)
    (place / "trusted.parquet").unlink()
    ask = ["provenance", "gate", "batch.parquet", "--trusted", "trusted.json", "--json"]
    assert run(ask) == 0
    assert "clusters" not in capsys.readouterr().out
    assert run([*ask, "--contents"]) == 2
    told = {t["name"]: t["passed"] for t in json.loads(capsys.readouterr().out)["tests"]}
    assert told["clusters"] is None
