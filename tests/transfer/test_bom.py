"""Bills of materials of models: written to the schema, read without trust, held against files."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crenel.cli.entry import run
from crenel.errors import CrenelError, SubjectError
from crenel.transfer.bom import bom_beside, describe_model, read_bom, verify_bom
from crenel.transfer.controls import safetensors_bytes
from tests.cyclonedx_schema import validator

CARD = """\
---
license: apache-2.0
pipeline_tag: image-classification
base_model: acme/base-net
datasets: [digits, scans]
authors: [Ada, Grace]
version: "1.2"
model-index:
- name: Small net
  results:
  - task: {type: image-classification}
    dataset:
      name: digits
    metrics:
    - type: accuracy
      value: 0.93
    - type: f1
      value: 91.5
---
# Small net
It tells cats from dogs.

## Intended use
Small grey pictures.
## Limitations
No photographs.
## Security and risk controls
Weights are signed.
## Contact
Write to vision@example.org.
"""


@pytest.fixture
def folder(tmp_path):
    """A model in the layout of a hub: card, configuration, weights of a head for two classes."""
    made = tmp_path / "net"
    (made / "parts").mkdir(parents=True)
    weights = np.random.default_rng(0).normal(size=(2, 200)).astype(np.float32)
    header = {"classifier.weight": {"dtype": "F32", "shape": [2, 200], "data_offsets": [0, 1600]}}
    (made / "model.safetensors").write_bytes(safetensors_bytes(header, weights.tobytes()))
    (made / "parts" / "notes.txt").write_text("trained in May")
    (made / "README.md").write_text(CARD)
    config = {
        "architectures": ["ResNetForImageClassification"], "model_type": "resnet",
        "id2label": {"0": "cat", "1": "dog"}, "image_size": 32,
    }  # fmt: skip
    (made / "config.json").write_text(json.dumps(config))
    return made


def written(folder, *more):
    assert run(["provenance", "bom", str(folder), "-o", str(folder / "bom.json"), *more]) == 0
    return json.loads((folder / "bom.json").read_text())


def edited(folder, change):
    """The bill of materials after a change of its component."""
    bom = written(folder)
    change(bom["metadata"]["component"])
    (folder / "bom.json").write_text(json.dumps(bom))


def test_a_model_is_written_with_everything_that_its_papers_and_files_say(folder):
    model = written(folder, "--supplier", "ACME")["metadata"]["component"]
    assert (model["type"], model["name"], model["version"]) == (
        "machine-learning-model", "Small net", "1.2",
    )  # fmt: skip
    files = {c["name"]: c["hashes"][0]["content"] for c in model["components"]}
    assert files == {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in folder.rglob("*")
        if p.is_file() and p.name != "bom.json"
    }
    assert model["licenses"] == [{"license": {"id": "Apache-2.0", "acknowledgement": "declared"}}]
    assert model["supplier"] == {"name": "ACME", "contact": [{"email": "vision@example.org"}]}
    assert [a["name"] for a in model["authors"]] == ["Ada", "Grace"]
    ancestor = model["pedigree"]["ancestors"][0]
    assert (ancestor["group"], ancestor["name"]) == ("acme", "base-net")
    card = model["modelCard"]
    given_ = card["modelParameters"]
    assert given_["task"] == "image-classification"
    assert given_["modelArchitecture"] == "ResNetForImageClassification"
    assert given_["architectureFamily"] == "resnet"
    assert [d["name"] for d in given_["datasets"]] == ["digits", "scans"]
    assert [o["format"] for o in given_["outputs"]] == ["cat", "dog"]
    metrics = card["quantitativeAnalysis"]["performanceMetrics"]
    assert [(m["type"], m["value"], m["slice"]) for m in metrics] == [
        ("accuracy", "0.93", "digits"), ("f1", "91.5", "digits"),
    ]  # fmt: skip
    thoughts = card["considerations"]
    assert thoughts["useCases"] == ["Small grey pictures."]
    assert thoughts["technicalLimitations"] == ["No photographs."]
    assert thoughts["ethicalConsiderations"][0]["mitigationStrategy"] == "Weights are signed."
    assert {"name": "crenel:parameters", "value": "400"} in model["properties"]


def test_a_signature_and_a_base_whose_weights_are_in_the_model_are_named(folder, tmp_path):
    base = tmp_path / "base.safetensors"
    base.write_bytes((folder / "model.safetensors").read_bytes())
    other = tmp_path / "other.safetensors"
    values = np.random.default_rng(9).normal(size=(2, 200)).astype(np.float32)
    header = {"classifier.weight": {"dtype": "F32", "shape": [2, 200], "data_offsets": [0, 1600]}}
    other.write_bytes(safetensors_bytes(header, values.tobytes()))
    key = tmp_path / "key"
    pytest.importorskip("cryptography")
    assert run(["provenance", "keygen", str(key), "--kind", "p256"]) == 0
    assert run(["provenance", "sign-model", str(folder), "--key", str(key)]) == 0
    model = written(folder, "--base", str(base), "--base", str(other))["metadata"]["component"]
    (measured,) = [a for a in model["pedigree"]["ancestors"] if "hashes" in a]
    assert measured["hashes"][0]["content"] == hashlib.sha256(base.read_bytes()).hexdigest()
    assert "copy of base.safetensors" in measured["properties"][0]["value"]
    notes = [p["value"] for p in model["properties"] if p["name"] == "crenel:note"]
    assert any("other.safetensors" in n for n in notes)
    (signature,) = [r for r in model["externalReferences"] if r["type"] == "digital-signature"]
    assert signature["url"] == "model.sig"
    assert "model.sig" not in {c["name"] for c in model["components"]}


def test_estimators_tell_their_task_classes_and_features(tmp_path, capsys):
    import joblib
    from sklearn.linear_model import LogisticRegression

    path = tmp_path / "credit.joblib"
    x = np.random.default_rng(0).normal(size=(40, 3))
    joblib.dump(LogisticRegression().fit(x, np.where(x[:, 0] > 0, "yes", "no")), path)
    assert run(["provenance", "bom", str(path), "--licence", "MIT"]) == 0
    model = json.loads(capsys.readouterr().out)["metadata"]["component"]
    assert model["hashes"][0]["content"] == hashlib.sha256(path.read_bytes()).hexdigest()
    told = model["modelCard"]["modelParameters"]
    assert told["task"] == "classification"
    assert [i["format"] for i in told["inputs"]] == ["3 features"]
    assert [o["format"] for o in told["outputs"]] == ["no", "yes"]


def test_notes_tell_what_was_not_read_and_no_folder_of_this_machine(folder):
    (folder / "model.safetensors").write_bytes(b"\xff" * 40)
    notes = [
        p["value"]
        for p in written(folder)["metadata"]["component"]["properties"]
        if p["name"] == "crenel:note"
    ]
    assert any("model.safetensors" in n for n in notes)
    assert not any(str(folder) in n for n in notes)


def test_a_folder_without_weights_is_told_by_its_name_alone(tmp_path):
    folder = tmp_path / "bare"
    folder.mkdir()
    (folder / "README.md").write_text("# Bare\n")
    (note,) = describe_model(folder).notes
    assert note.startswith("bare ")
    assert str(tmp_path) not in note


def test_a_run_of_this_very_model_adds_its_figures_and_findings(folder, tmp_path):
    from crenel.policy import Policy
    from crenel.report.json import to_json
    from crenel.run import Run, RunInfo, TargetRecord
    from tests.helpers import exposure, finding

    def of(digest):
        info = RunInfo(
            id="a1b2c3d4e5f6", status="complete", created="2026-01-01T00:00:00Z",
            digests={"model": f"sha256:{digest}"},
        )  # fmt: skip
        made = Run.judged(
            run=info, target=TargetRecord(name="t"), outcomes=(), policy=Policy(name="p"),
            exposures=(exposure(role="attack"),), findings=(finding(fix="Bound the column."),),
        )  # fmt: skip
        path = tmp_path / f"{digest[:6]}.json"
        path.write_text(to_json(made))
        return str(path)

    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    bom = written(folder, "--run", of(digest))
    card = bom["metadata"]["component"]["modelCard"]
    metric = card["quantitativeAnalysis"]["performanceMetrics"][-1]
    assert metric["value"] == "0.3"
    assert metric["confidenceInterval"] == {"lowerBound": "0.25", "upperBound": "0.35"}
    assert card["considerations"]["ethicalConsiderations"][-1]["mitigationStrategy"] == (
        "Bound the column."
    )
    assert run(["provenance", "bom", str(folder), "--run", of("0" * 64)]) == 64


def test_what_is_written_keeps_to_the_schema_of_cyclonedx(folder):
    schema = validator()
    bom = written(folder, "--supplier", "ACME", "--licence", "Apache-2.0", "--licence", "own terms")
    assert [e.message for e in schema.iter_errors(bom)] == []
    bom["metadata"]["component"]["modelCard"]["modelParameters"]["task"] = 3
    assert list(schema.iter_errors(bom))


def test_what_was_written_is_read_back_and_passes(folder, capsys):
    written(folder, "--supplier", "ACME")
    bom = read_bom(folder / "bom.json")
    assert bom.name == "Small net"
    assert bom.task == "image-classification"
    assert bom.bases == ("acme/base-net",)
    assert bom.licences == ("Apache-2.0",)
    assert bom.datasets == ("digits", "scans")
    assert bom.metrics[0] == ("accuracy", "0.93", "digits")
    assert (bom.uses, bom.limits, bom.controls) == (
        ("Small grey pictures.",), ("No photographs.",), ("Weights are signed.",),
    )  # fmt: skip
    assert set(bom.contacts) == {"ACME", "vision@example.org", "Ada", "Grace"}
    assert run(["provenance", "verify-bom", str(folder)]) == 0
    assert "pass        5 files" not in capsys.readouterr().out


def failed(folder):
    return {t.name for t in verify_bom(folder) if t.passed is False}


def test_files_that_were_changed_lost_or_added_since_fail(folder, capsys):
    written(folder)
    assert failed(folder) == set()
    (folder / "parts" / "notes.txt").write_text("trained in June")
    assert failed(folder) == {"changed"}
    (folder / "parts" / "notes.txt").unlink()
    assert failed(folder) == {"missing"}
    (folder / "extra.txt").write_text("new")
    assert failed(folder) == {"missing", "not listed"}
    assert run(["provenance", "verify-bom", str(folder)]) == 1
    assert "extra.txt" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("licence", lambda m: m.update(licenses=[{"license": {"id": "GPL-3.0-only"}}])),
        ("task", lambda m: m["modelCard"]["modelParameters"].update(task="tabular-regression")),
        ("base of the base", lambda m: m["pedigree"]["ancestors"][0].update(name="another-net")),
    ],
)
def test_contradictions_with_card_and_configuration_fail(folder, name, change):
    edited(folder, change)
    assert failed(folder) == {name}


def test_labels_of_the_configuration_are_held_against_the_outputs(folder):
    config = json.loads((folder / "config.json").read_text())
    config["id2label"]["2"] = "bird"
    (folder / "config.json").write_text(json.dumps(config))
    written(folder)
    assert failed(folder) == {"labels"}


def test_two_licences_of_which_one_agrees_are_no_contradiction(folder):
    edited(folder, lambda m: m.update(licenses=[{"expression": "MIT OR Apache-2.0"}]))
    assert failed(folder) == set()


def test_a_model_without_a_bill_of_materials_is_a_usage_error(folder, capsys):
    assert run(["provenance", "verify-bom", str(folder)]) == 64
    assert "no bill of materials" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[1]", b'{"bomFormat": "SPDX"}', b'{"bomFormat": "CycloneDX"}', b"\xff\xfe{",
        b'{"bomFormat": "CycloneDX", "components": ' + b"[" * 100_000,
        b'{"bomFormat": "CycloneDX", "components": [{"type": "library", "name": "x"}]}',
    ],
)  # fmt: skip
def test_broken_bills_of_materials_end_in_one_sentence(folder, content, capsys):
    (folder / "bom.json").write_bytes(content)
    with pytest.raises(SubjectError) as caught:
        read_bom(folder / "bom.json")
    assert "\n" not in str(caught.value)
    assert run(["provenance", "verify-bom", str(folder)]) in (2, 64)
    assert "defect" not in capsys.readouterr().err


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
KEYS = (
    "type", "name", "group", "version", "hashes", "licenses", "purl", "supplier", "authors",
    "modelCard", "pedigree", "externalReferences", "components",
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), JSON), st.dictionaries(st.sampled_from(KEYS), JSON))
def test_any_json_is_read_or_refused_in_one_sentence(tmp_path_factory, model, inner):
    path = tmp_path_factory.mktemp("bom") / "bom.json"
    model = {**model, "type": "machine-learning-model"}
    card = {"modelParameters": inner, "considerations": inner, "quantitativeAnalysis": inner}
    for component in (model, {**model, "modelCard": card, "components": [inner]}):
        document = {"bomFormat": "CycloneDX", "metadata": {"component": component}}
        path.write_text(json.dumps(document))
        try:
            read_bom(path)
        except CrenelError as error:
            assert "\n" not in str(error)  # noqa: PT017  either is right


def test_names_that_lead_out_of_the_folder_are_not_followed(folder, tmp_path):
    (tmp_path / "secret").write_text("x")

    def lead_out(model):
        for name in ("../secret", str(tmp_path / "secret"), "..\\secret", "a\0b", "parts/../../x"):
            model["components"].append(
                {"type": "file", "name": name, "hashes": [{"alg": "SHA-256", "content": "0" * 64}]}
            )

    edited(folder, lead_out)
    from crenel.transfer.bom.verifying import altered

    assert altered(read_bom(folder / "bom.json")) == ()


def test_text_that_steers_a_terminal_is_shown_harmless(folder):
    edited(folder, lambda m: m.update(name="net\x1b[2J"))
    assert "\x1b" not in read_bom(folder / "bom.json").name


def test_of_several_models_the_one_with_the_files_in_use_is_read(folder):
    bom = written(folder)
    model = bom["metadata"].pop("component")
    bom["components"] = [{"type": "machine-learning-model", "name": "other"}, model]
    (folder / "bom.json").write_text(json.dumps(bom))
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert read_bom(folder / "bom.json").name == "other"
    assert read_bom(folder / "bom.json", [digest]).name == "Small net"


def test_bills_of_data_are_passed_over_and_damaged_ones_told(folder):
    (folder / "bom.json").write_text('{"bomFormat": "CycloneDX", "components": []}')
    assert bom_beside([folder]) == (None, "")
    (folder / "a.cdx.json").write_text("{")
    bom, fault = bom_beside([folder])
    assert bom is None
    assert "a.cdx.json is damaged" in fault


def test_lineage_reads_the_bases_that_a_bill_of_materials_names(folder):
    from crenel.transfer.lineage.folders import describe

    edited(folder, lambda m: m["pedigree"]["ancestors"][0].update(name="listed-net"))
    assert "acme/listed-net" in describe(folder).claims
