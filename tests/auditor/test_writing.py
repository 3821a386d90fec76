"""Hardened models go to files that load again, whatever kind of torch module they are."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from crenel.adapters import load_model  # noqa: E402
from crenel.auditor.writing import write_model  # noqa: E402
from crenel.subject import Data  # noqa: E402


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 3)
    ).eval()


def data() -> Data:
    x = np.random.default_rng(0).random((20, 1, 8, 8)).astype(np.float32)
    return Data(x, np.arange(20) % 3, np.arange(20))


def exported() -> torch.nn.Module:
    batch = torch.from_numpy(data().x[:2])
    count = torch.export.Dim("n", min=1)
    return torch.export.export(network(), (batch,), dynamic_shapes=({0: count},)).module()


def scripted() -> torch.nn.Module:
    return torch.jit.script(network())


@pytest.mark.parametrize(
    ("make", "name"),
    [(network, "hardened.joblib"), (exported, "hardened.pt2"), (scripted, "hardened.pt")],
)
def test_what_is_written_loads_and_decides_alike(make, name, tmp_path) -> None:
    model, d = make(), data()
    path = write_model(model, tmp_path, d)
    assert path.name == name
    again = load_model(path, scan=False, classes=[0, 1, 2], sample=d.x)
    with torch.no_grad():
        expected = model(torch.from_numpy(d.x)).argmax(1).numpy()
    assert (again.decide(d.x) == expected).all()
    assert len(set(expected.tolist())) > 1


def test_a_model_that_no_file_takes_is_told_and_the_tables_are_written(tmp_path) -> None:
    import pandas as pd

    from crenel.auditor.workplace import _write

    files, sentence = _write(
        tmp_path, lambda x: x, data(), {"quarantine": pd.DataFrame({"row": [1]})}
    )
    assert [f.rsplit("/")[-1] for f in files] == ["quarantine.csv"]
    assert "could not be written to a file" in sentence


def test_a_worker_answers_what_it_did_not_expect() -> None:
    import io
    import json

    from crenel.auditor.worker import answer

    class Broken:
        def peek(self) -> None:
            raise RuntimeError("out of paper")

    answers = io.StringIO()
    answer(Broken(), {"do": "peek"}, answers)
    told = json.loads(answers.getvalue())
    assert told["kind"] == "failed"
    assert "out of paper" in told["body"]
