"""Claims of a card against the model: planted contradictions are found, honest cards pass."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crenel.check import Context
from crenel.finding import Severity
from crenel.model import Model
from crenel.subject import Base, Data, Subject
from crenel.transfer.artefact import Artefact
from crenel.transfer.checks import documentation
from crenel.transfer.controls import safetensors_bytes
from crenel.transfer.papers.card import parse_card
from crenel.transfer.papers.checklist import review
from crenel.transfer.papers.claims import claimed_classes, claimed_sizes
from crenel.transfer.papers.documents import _takes
from crenel.transfer.papers.front import nested
from crenel.transfer.papers.items import Facts, State
from crenel.transfer.papers.results import claimed_accuracies

INDEX = """\
pipeline_tag: image-classification
model-index:
- name: net
  results:
  - task:
      type: image-classification
      name: Image classification
    dataset:
      name: digits
      split: test
    metrics:
    - type: accuracy
      value: 0.93
      name: Accuracy
    - name: F1
      type: f1
      value: 91.2
  - dataset: {name: unread}
    metrics:
      - value: 0.71
        type: accuracy
"""


def test_nested_front_matter_is_read_as_yaml_reads_it():
    yaml = pytest.importorskip("yaml")
    text = INDEX.replace("  - dataset: {name: unread}\n", "  - dataset:\n      name: scans\n")

    def texts(value):
        if isinstance(value, dict):
            return {k: texts(v) for k, v in value.items()}
        return [texts(v) for v in value] if isinstance(value, list) else str(value)

    assert nested(text) == texts(yaml.safe_load(text))


def test_model_index_is_nested_lists_and_maps():
    (model,) = nested(INDEX)["model-index"]
    first, second = model["results"]
    assert first["task"] == {"type": "image-classification", "name": "Image classification"}
    assert first["dataset"] == {"name": "digits", "split": "test"}
    assert [m["type"] for m in first["metrics"]] == ["accuracy", "f1"]
    assert second["metrics"] == [{"value": "0.71", "type": "accuracy"}]


@given(st.text(alphabet="-: \na1[]{}'\"#", max_size=80))
def test_any_front_matter_is_read(text):
    assert isinstance(nested(text), dict)


def test_nesting_without_end_is_left_unread():
    assert nested("\n".join(" " * i + "a:" for i in range(3_000))) != {}
    assert nested("- " * 5_000) == {}


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        (f"---\n{INDEX}---\n", [("digits", 0.93), ("", 0.71)]),
        ("| data | Accuracy |\n|---|---|\n| digits | 93.1 |\n| scans | 0.8 |\n",
         [("digits", 0.931), ("scans", 0.8)]),
        ("| Metric | Value |\n| :-- | --: |\n| Accuracy | **97.5 %** |\n| F1 | 90 |\n",
         [("", 0.975)]),
        ("| metric | digits | scans |\n|--|--|--|\n| loss | 1 | 2 |\n| accuracy | 0.9 | 0.7 |",
         [("digits", 0.9), ("scans", 0.7)]),
        ("| model | top-1 acc (%) | top-5 acc (%) |\n|-|-|-|\n| ours | 76.1 | 93.2 |\n"
         "| baseline | 60.0 | 80.0 |", [("", 0.761)]),
        ("| Model | LFW accuracy ([told](x)) | Training acc |\n|-|-|-|\n| A | 0.99 | 1 |",
         [("LFW", 0.99)]),
        ("Training accuracy 0.999, accuracy 0.93 on held-out rows.", [("", 0.93)]),
        ("Robust accuracy 0.99. It lost accuracy 0.02 points. The baseline accuracy 0.99.", []),
        ("Accuracy on the training set 0.99", []),
        ("| a | b |\n| accuracy 0.5 |", [("", 0.5)]),
    ],
)  # fmt: skip
def test_accuracies_are_read_from_index_tables_and_text(text, shares):
    found = [(c.dataset, c.share) for c in claimed_accuracies(parse_card(text))]
    assert found == [(d, pytest.approx(s)) for d, s in shares]


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("Inputs are 3 x 224 x 224 pixels", [(224, 224)]),
        ("It takes images of 28×28.", [(28, 28)]),
        ("input shape (1, 32, 48)", [(32, 48)]),
        ("Photographs of 640 x 480 are common.", []),
        ("The input is a list of 3, 4 numbers; version 1.2.3 takes 16 x 2 of them", []),
        ("inputs: 8 by 8 pixels, resized to 16 by 16.", [(8, 8), (16, 16)]),
    ],
)
def test_sizes_of_inputs_are_told_from_other_numbers(text, sizes):
    assert claimed_sizes(parse_card(text)) == sizes


def test_baselines_and_training_splits_of_model_index_are_no_claims():
    text = INDEX.replace("      name: Accuracy\n", "      name: Majority baseline accuracy\n")
    card = parse_card(f"---\n{text}---\n")
    assert [c.share for c in claimed_accuracies(card)] == [0.71]
    card = parse_card(f"---\n{INDEX.replace('split: test', 'split: train')}---\n")
    assert [c.share for c in claimed_accuracies(card)] == [0.71]


def test_numbers_in_code_are_no_claims():
    text = "```python\n# a model with 100 classes, accuracy 0.99, input 64 x 64\n```\n10 classes"
    card = parse_card(text)
    assert claimed_classes(card) == 10
    assert claimed_accuracies(card) == []
    assert claimed_sizes(card) == []


def state(name, text="", **facts):
    found = {i.name: i for i in review(parse_card(text), Facts(**facts))}
    return found[name].state if name in found else None


IMAGES = Artefact(task="image-classification")


@pytest.mark.parametrize(
    ("said", "facts", "state_"),
    [
        ("text-classification", {"artefact": IMAGES}, "contradicted"),
        ("image-classification", {"artefact": IMAGES}, "present"),
        ("image-classification", {"task": "classification"}, "present"),
        ("tabular-regression", {"task": "classification"}, "contradicted"),
        ("image-classification", {"task": "regression"}, "contradicted"),
        ("image-segmentation", {"artefact": IMAGES}, "contradicted"),
        # Names that hubs use side by side for one and the same model.
        ("sentence-similarity", {"artefact": Artefact(task="fill-mask")}, "present"),
        ("zero-shot-image-classification", {"artefact": Artefact(task="text-classification")},
         "present"),
        ("text-ranking", {"artefact": Artefact(task="text-classification")}, "present"),
        ("image-feature-extraction", {"task": "classification"}, "present"),
    ],
)  # fmt: skip
def test_tasks(said, facts, state_):
    assert state("task", f"---\npipeline_tag: {said}\n---\n", **facts) == state_


@pytest.mark.parametrize(
    ("labels", "heads", "classes", "state_"),
    [
        (("a", "b", "c"), (3,), None, "present"),
        (("a", "b", "c"), (10,), None, "contradicted"),
        (("a", "b", "c"), (768, 3), None, "present"),
        (("a", "b"), (1,), None, None),  # one output for two classes
        (("a", "b", "c"), (), None, None),
        (("a", "b", "c"), (), 4, "contradicted"),
    ],
)
def test_labels_against_outputs(labels, heads, classes, state_):
    artefact = Artefact(labels=labels, heads=heads)
    assert state("labels", artefact=artefact, classes=classes) == state_


TWO = "| data | accuracy |\n|---|---|\n| digits | 0.93 |\n| scans | 0.71 |\n"


@pytest.mark.parametrize(
    ("text", "measured", "state_"),
    [
        ("Accuracy 0.97", (0.95, 0.93, 0.96), "present"),
        ("Accuracy 0.97", (0.9, 0.88, 0.92), "contradicted"),
        # One of two data sets that are named fits; neither does.
        (TWO, (0.70, 0.66, 0.74), "present"),
        (TWO, (0.5, 0.45, 0.55), "contradicted"),
        # Rounding of the claim belongs to it: 0.9 may be 0.86.
        ("Accuracy 0.9", (0.80, 0.76, 0.84), "present"),
        ("Accuracy 0.900", (0.80, 0.76, 0.84), "contradicted"),
    ],
)
def test_claimed_accuracy_is_held_against_the_interval(text, measured, state_):
    assert state("accuracy", text, accuracy=measured) == state_
    assert state("accuracy on test rows", text, test_accuracy=measured) == state_


def test_test_rows_that_are_decided_far_better_than_claimed_are_told():
    items = review(parse_card("Accuracy 0.70"), Facts(test_accuracy=(0.99, 0.97, 1.0)))
    (item,) = [i for i in items if i.name == "accuracy on test rows"]
    assert (item.state, item.wrong) == (State.CONTRADICTED, Severity.LOW)
    assert state("accuracy", "Accuracy 0.70", accuracy=(0.99, 0.97, 1.0)) is State.PRESENT


def subject(accuracy, classes=("cat", "dog", "bird"), card=None, n=600, own=None):
    """A base and a target with the same classes; the base is right on a share of the rows."""
    rng = np.random.default_rng(3)
    y = rng.integers(0, 3, n)
    told = np.where(rng.random(n) < accuracy, y, (y + 1) % 3)
    x = np.stack([np.arange(n), told], axis=1).astype(np.float32)

    def decide(rows):
        return np.asarray(rows)[:, 1].astype(np.int64)

    base = Model("function", "classification", np.array(classes), decide)
    target = Model("function", "classification", np.array(own or classes), decide)
    test = Data(x, y, np.arange(n))
    return Subject("t", model=target, test=test, base=Base(model=base, card=card))


def found(subject_):
    measured = documentation.measure(subject_, Context(check="TRA-103"))
    return {f.subject.removeprefix("base model: "): f for f in measured.findings}


def test_a_false_accuracy_is_found_on_the_targets_own_test_rows(tmp_path):
    card = tmp_path / "README.md"
    card.write_text("# Net\n## Evaluation\n| data | accuracy |\n|--|--|\n| pets | 98.5 % |\n")
    lying = found(subject(0.8, card=card))["accuracy on test rows"]
    assert lying.severity is Severity.MEDIUM
    assert "0.985" in lying.sentence
    assert "accuracy on test rows" not in found(subject(0.98, card=card))


def test_classes_in_another_order_are_put_in_order(tmp_path):
    card = tmp_path / "README.md"
    card.write_text("Accuracy 0.985")
    turned = subject(0.98, card=card, own=("bird", "cat", "dog"))
    # Class i of the base is class i + 1 of the target, so that the rows' classes move on by one.
    moved = Data(turned.test.x, (turned.test.y + 1) % 3, turned.test.ids)
    from dataclasses import replace

    assert "accuracy on test rows" not in found(replace(turned, test=moved))
    assert "accuracy on test rows" in found(turned)


def test_numbered_classes_of_another_task_are_no_test_of_the_claim(tmp_path):
    card = tmp_path / "README.md"
    card.write_text("Accuracy 0.97")
    assert "accuracy on test rows" not in found(subject(0.3, classes=(0, 1, 2), card=card))
    assert "accuracy on test rows" in found(subject(0.8, classes=(0, 1, 2), card=card))


@pytest.mark.parametrize(
    ("said", "wrong"), [("16 x 16", True), ("8 x 8", False), ("16 x 16, then 8 x 8", False)]
)
def test_input_sizes_are_tried_on_the_network(tmp_path, said, wrong):
    pytest.importorskip("torch")
    from crenel.adapters import wrap
    from crenel.demo.digits import images, network

    x, y = images()
    card = tmp_path / "README.md"
    card.write_text(f"Inputs of {said} pixels.")
    base = Base(
        model=wrap(network(), classes=range(10), sample=x[:4]),
        card=card,
        data=Data(x[:64], y[:64], np.arange(64)),
    )
    got = found(Subject("t", base=base))
    assert ("input size" in got) == wrong
    if wrong:
        assert got["input size"].severity is Severity.MEDIUM
        assert "(1, 8, 8)" in got["input size"].sentence


def test_input_sizes_are_tried_where_the_network_is():
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)).to("meta")
    assert _takes(module, (1, 8, 8))
    assert not _takes(module, (1, 9, 9))


def test_a_bill_of_materials_stands_for_what_the_card_leaves_out(tmp_path):
    weights = tmp_path / "base.safetensors"
    weights.write_bytes(safetensors_bytes({}, b""))
    import hashlib

    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    model = {
        "type": "machine-learning-model", "name": "base", "purl": "pkg:huggingface/o/b@" + "a" * 40,
        "supplier": {"name": "Vision group"},
        "licenses": [{"license": {"id": "MIT"}}],
        "components": [
            {"type": "file", "name": weights.name,
             "hashes": [{"alg": "SHA-256", "content": digest}]}
        ],
        "modelCard": {
            "modelParameters": {"datasets": [{"type": "dataset", "name": "digits"}]},
            "quantitativeAnalysis": {
                "performanceMetrics": [{"type": "accuracy", "value": "0.9"}]
            },
            "considerations": {
                "useCases": ["Small images."], "technicalLimitations": ["No photographs."],
                "ethicalConsiderations": [{"name": "theft", "mitigationStrategy": "rate limits"}],
            },
        },
    }  # fmt: skip
    document = {"bomFormat": "CycloneDX", "metadata": {"component": model}}
    without = found(Subject("t", base=Base(files=(weights,))))
    assert {"licence", "digest", "risk controls", "contact"} <= set(without)
    (tmp_path / "bom.json").write_text(json.dumps(document))
    assert set(found(Subject("t", base=Base(files=(weights,))))) == set()
    weights.write_bytes(safetensors_bytes({}, b" "))
    altered = found(Subject("t", base=Base(files=(weights,))))
    assert altered["bill of materials"].severity is Severity.HIGH
    assert set(altered) == {"bill of materials", "digest"}
    (tmp_path / "bom.json").write_text("{")
    assert (
        "damaged" in found(Subject("t", base=Base(files=(weights,))))["bill of materials"].sentence
    )
