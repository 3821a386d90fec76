"""TRA-105 and the verb: what is found, what is not measured, and what is printed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from crenel.check import Context
from crenel.cli.entry import run
from crenel.errors import NotApplicable
from crenel.finding import Severity
from crenel.subject import Base, Subject
from crenel.testing import check_check
from crenel.transfer.checks import origin
from crenel.transfer.lineage.controls import new_head, tuned_in_full
from tests.transfer.lineage.test_reading import safetensors


def measure(subject):
    return origin.measure(subject, Context(check="TRA-105"))


def test_check_keeps_the_contract():
    check_check(origin)


def stranger(tmp_path, seed=9):
    """Weights of the shapes of the controls, that come from nowhere."""
    from crenel.transfer.lineage.controls import _SHAPES

    rng = np.random.default_rng(seed)
    made = {n: ("F32", rng.standard_normal(s).astype(np.float32)) for n, s in _SHAPES.items()}
    tmp_path.mkdir(exist_ok=True)
    return safetensors(tmp_path / "model.safetensors", made)


def test_frozen_layers_are_named_and_point_at_the_surrogate():
    (finding,) = measure(new_head()).findings
    assert finding.severity is Severity.MEDIUM
    assert finding.evidence.values["layers"] == ["0.weight", "2.weight", "4.weight"]
    assert "TRA-102" in finding.attack
    assert "6.weight" in finding.examples[0].text


def test_the_base_itself_under_another_name_is_worse():
    subject = tuned_in_full()
    (finding,) = measure(replace(subject, files=subject.base.files)).findings
    assert finding.severity is Severity.HIGH
    assert "public base itself" in finding.sentence


def test_weights_that_contradict_the_stated_base_are_found(tmp_path):
    subject = replace(tuned_in_full(), files=(stranger(tmp_path),))
    (finding,) = measure(subject).findings
    assert finding.severity is Severity.MEDIUM
    assert finding.sentence.startswith("The weights do not come from a/base")
    # Where the model's own card names that base, its card is false.
    card = tmp_path / "README.md"
    card.write_text("---\nbase_model: a/base\n---\n# Model\n")
    (worse,) = measure(replace(subject, files=(*subject.files, card))).findings
    assert worse.severity is Severity.HIGH
    assert worse.fingerprint == finding.fingerprint


def test_a_card_that_names_another_base_than_the_weights_show(tmp_path):
    config = tmp_path / "config.json"
    subject = tuned_in_full()
    for name, n in (("a/base", 0), ("base", 0), ("a/other", 1)):
        config.write_text(json.dumps({"_name_or_path": name}))
        findings = measure(replace(subject, files=(*subject.files, config))).findings
        assert len(findings) == n, name
    assert "a/other" in findings[0].sentence


def test_what_shows_no_weights_is_not_applicable(tmp_path):
    card = tmp_path / "README.md"
    card.write_text("# Card\n")
    subject = tuned_in_full()
    with pytest.raises(NotApplicable, match="model shows no weights"):
        measure(replace(subject, files=(card,)))
    with pytest.raises(NotApplicable, match="base shows no weights"):
        measure(Subject("t", files=subject.files, base=Base(origin="hub:a/b")))


def test_endpoints_and_functions_show_no_weights():
    from crenel.model import Model

    subject = tuned_in_full()
    for native in ("http://localhost:1/predict", len):
        model = Model("http", "classification", np.arange(2), len, native=native)
        with pytest.raises(NotApplicable, match="no weights"):
            measure(Subject("t", model=model, base=subject.base))


def test_models_in_memory_are_compared():
    torch = pytest.importorskip("torch")
    from crenel.adapters import wrap

    torch.manual_seed(0)
    base = torch.nn.Sequential(torch.nn.Linear(20, 40), torch.nn.Linear(40, 20))
    x = np.zeros((4, 20), np.float32)
    model = wrap(base, classes=range(20), sample=x)
    (finding,) = measure(Subject("t", model=model, base=Base(model=model))).findings
    assert "public base itself" in finding.sentence


def test_the_verb_lists_bases_best_first_and_prints_the_layers(tmp_path, capsys):
    subject = new_head()
    other = stranger(tmp_path / "other")
    arguments = ["lineage", str(subject.files[0]), "--base", str(other)]
    arguments += ["--base", str(subject.base.files[0])]
    assert run(arguments) == 0
    told = capsys.readouterr().out
    assert told.index("tuned copy of base.safetensors") < told.index("has the layers of")
    assert "2.weight" in told
    assert run([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [f["verdict"] for f in found] == ["tuned copy", "same architecture, other weights"]
    assert found[0]["layers"][0]["status"] == "identical"
    assert found[0]["log10_p"] < -6 < found[1]["log10_p"]


def test_the_verb_says_what_is_wrong(tmp_path, capsys):
    subject = new_head()
    assert run(["lineage", str(subject.files[0]), "--base", str(tmp_path / "no")]) == 64
    assert "no file or folder" in capsys.readouterr().err
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    assert run(["lineage", str(text), "--base", str(subject.files[0])]) != 0
    assert capsys.readouterr().err.count("\n") == 1
