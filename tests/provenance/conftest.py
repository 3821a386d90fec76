import numpy as np
import pandas as pd
import pytest

from crenel.provenance.keys import make_key, read_private, read_public


@pytest.fixture(scope="session")
def key(tmp_path_factory):
    """Paths of a private key and its public one."""
    path = tmp_path_factory.mktemp("keys") / "my.key"
    return path, make_key(path)[0]


@pytest.fixture
def private(key):
    return read_private(key[0])


@pytest.fixture
def public(key):
    return read_public(key[1])


@pytest.fixture
def table():
    """Forty rows from two vendors, with a key, a label and values of every kind."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": np.arange(40),
            "age": rng.integers(18, 90, 40),
            "pay": rng.normal(size=40),
            "town": rng.choice(np.array(["Ä", "B", None], dtype=object), 40),
            "ok": rng.random(40) < 0.5,
            "bought": rng.choice(["yes", "no"], 40),
            "vendor": rng.choice(["acme", "beta"], 40),
        }
    )


@pytest.fixture
def files(table, tmp_path):
    table.to_csv(tmp_path / "train.csv", index=False)
    return tmp_path
