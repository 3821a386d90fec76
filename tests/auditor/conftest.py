import textwrap

import numpy as np
import pandas as pd
import pytest

from crenel.store import Store

FAULTY = """
import os, socket, time
import numpy as np

calls = 0

def decide(x):
    return (np.asarray(x)[:, 0] > 0).astype(int)

def honest(x):
    return decide(x)

def after(x, fault):
    # The first calls are those of loading; the fault waits for the check.
    global calls
    calls += 1
    if calls > 8:
        fault()
    return decide(x)

def raising(x):
    def fault():
        raise RuntimeError("the model is out of order")
    return after(x, fault)

def dying(x):
    return after(x, lambda: os._exit(9))

def hanging(x):
    return after(x, lambda: time.sleep(3600))

def hanging_at_once(x):
    time.sleep(3600)

def calling(x):
    return after(x, lambda: socket.create_connection(("192.0.2.1", 80), timeout=1))

def printing(x):
    print('{"kind": "result", "body": 1}')
    return decide(x)

def greedy(x):
    def fault():
        np.ones(40 * 2**30 // 8)
    return after(x, fault)
"""


@pytest.fixture
def store(tmp_path):
    made = Store(str(tmp_path / "runs.db"))
    yield made
    made.close()


@pytest.fixture
def project(tmp_path):
    """A folder with a module of good and bad models, and small tables."""
    rng = np.random.default_rng(0)
    for name, n in (("train", 200), ("test", 120)):
        table = pd.DataFrame(rng.normal(size=(n, 3)), columns=["a", "b", "c"])
        table["label"] = (table["a"] > 0).astype(int)
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    (tmp_path / "faulty.py").write_text(textwrap.dedent(FAULTY))
    return tmp_path


def config(project, model, checks, extra="", name="mine"):
    file = project / "crenel.toml"
    file.write_text(
        f'[target.{name}]\nmodel = "{model}"\ntrain = "train.csv"\ntest = "test.csv"\n'
        f'label = "label"\n[audit]\nchecks = {checks!r}\n{extra}\n'
    )
    return file
