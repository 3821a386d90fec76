"""TRA-101 and TRA-103 on files."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from crenel.check import Context
from crenel.data.sections import load_base
from crenel.errors import UsageError
from crenel.finding import Severity
from crenel.scan import ScanResult, Verdict
from crenel.subject import Base, Data, Subject
from crenel.target import Target
from crenel.testing import check_check
from crenel.transfer.checks import documentation, model_files
from crenel.transfer.controls import hostile_file, silent_base
from crenel.transfer.scanned import LEVELS, finding_of


def measure(check, subject):
    return check.measure(subject, Context(check=check.id))


@pytest.mark.parametrize("check", [model_files, documentation], ids=lambda c: c.id)
def test_checks_keep_the_contract(check):
    check_check(check)


def test_hostile_file_is_named_with_its_call_and_digest_and_not_run(tmp_path):
    mark = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            import os

            return os.system, (f"touch {mark}",)

    path = tmp_path / "model.joblib"
    path.write_bytes(pickle.dumps(Evil()))
    (finding,) = measure(model_files, Subject("t", files=(path,))).findings
    assert finding.severity is Severity.CRITICAL
    assert finding.evidence.values["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert finding.evidence.files == (str(path),)
    assert f"touch {mark}" in finding.examples[0].text
    assert not mark.exists()


def test_files_of_the_base_are_scanned_too():
    hostile = hostile_file()
    subject = Subject("t", base=Base(files=hostile.files))
    assert len(measure(model_files, subject).findings) == 1


def test_a_trusted_digest_is_noted_and_not_found():
    hostile = hostile_file()
    digest = hashlib.sha256(hostile.files[0].read_bytes()).hexdigest()
    measured = measure(model_files, replace(hostile, trusted=frozenset({f"sha256:{digest}"})))
    assert measured.findings == ()
    assert any("trusted" in note for note in measured.notes)


def test_every_verdict_but_clean_is_a_finding():
    for verdict in Verdict:
        found = finding_of(ScanResult("a/b.pkl", "0" * 64, "pickle", verdict, []))
        assert (found is None) == (verdict is Verdict.CLEAN)
    levels = [LEVELS[v][0].rank for v in (Verdict.REVIEW, Verdict.DANGEROUS, Verdict.MALICIOUS)]
    assert levels == sorted(set(levels))


def test_fingerprint_is_the_same_in_another_folder():
    results = [ScanResult(f"{f}/m.pkl", "0" * 64, "pickle", Verdict.REVIEW, []) for f in "ab"]
    assert len({finding_of(r).fingerprint for r in results}) == 1


def test_a_base_without_a_card_misses_everything():
    measured = measure(documentation, Subject("t", base=Base(origin="hub:a/b")))
    names = {f.evidence.values["item"] for f in measured.findings}
    assert {"licence", "digest", "pinned revision", "training data", "risk controls"} <= names
    assert any("no model card" in note for note in measured.notes)


def test_licence_file_and_false_accuracy_are_contradictions(tmp_path):
    card = tmp_path / "README.md"
    card.write_text(
        "---\nlicense: mit\n---\n# Net\n## Evaluation\nAccuracy 0.99 on our test rows\n"
    )
    (tmp_path / "LICENSE").write_text("GNU AFFERO GENERAL PUBLIC LICENSE Version 3")
    rng = np.random.default_rng(0)
    data = Data(rng.random((300, 2)), rng.integers(0, 3, 300), np.arange(300))
    base = replace(silent_base().base, card=card, data=data)
    found = {
        f.evidence.values["item"]: f.severity
        for f in measure(documentation, Subject("t", base=base)).findings
    }
    assert found["licence"] is Severity.HIGH
    assert found["accuracy"] is Severity.HIGH
    assert found["training data"] is Severity.MEDIUM
    assert "evaluation" not in found


def test_files_that_time_did_not_allow_are_no_clean_bill():
    subject = hostile_file()
    subject = replace(subject, files=(*subject.files, subject.files[0].parent / "second.pkl"))
    late = model_files.measure(subject, Context(check="TRA-101", deadline=0.0))
    assert late.findings
    assert late.partial.startswith("1 files were not scanned")
    assert not measure(model_files, hostile_file()).partial


@pytest.fixture
def signed_base(tmp_path):
    pytest.importorskip("cryptography")
    from crenel.provenance import sign_model
    from crenel.provenance.keys import make_key
    from crenel.provenance.model_keys import read_signing_key

    weights, signature = tmp_path / "net" / "w.bin", tmp_path / "net" / "model.sig"
    weights.parent.mkdir()
    weights.write_bytes(b"weights")
    public, _ = make_key(tmp_path / "my.key", "p256")
    sign_model(weights.parent, signature, read_signing_key(tmp_path / "my.key"))
    return Base(files=(weights,), signature=signature, signer=public)


def items(base):
    found = measure(documentation, Subject("t", base=base)).findings
    return {f.subject.removeprefix("base model: "): f for f in found}


def test_a_valid_signature_stands_for_origin_and_digest(signed_base):
    assert {"origin", "digest"} <= set(items(replace(signed_base, signature=None)))
    assert not {"origin", "digest", "signature"} & set(items(signed_base))


def test_a_signature_that_fails_is_a_contradiction_and_stands_for_nothing(signed_base, tmp_path):
    other = tmp_path / "other.bin"
    other.write_bytes(b"weights")
    uncovered = items(replace(signed_base, files=(*signed_base.files, other)))
    assert "other.bin is not covered" in uncovered["signature"].sentence
    signed_base.files[0].write_bytes(b"others")
    found = items(signed_base)
    assert found["signature"].severity is Severity.HIGH
    assert found["signature"].sentence == "The signature does not hold: w.bin was changed."
    assert {"origin", "digest"} <= set(found)


def test_a_signature_without_a_signer_proves_nothing(signed_base):
    found = items(replace(signed_base, signer=None))
    assert {"origin", "digest", "signature"} <= set(found)


def test_a_base_model_signed_by_an_identity(signed_base, tmp_path):
    pytest.importorskip("sigstore", reason="needs the extra sigstore")
    from crenel.provenance.model_bundle import read_bundle
    from tests.provenance.own_sigstore import ALICE, PROVIDER, OwnSigstore

    own = OwnSigstore()
    (tmp_path / "roots.json").write_text(json.dumps(own.roots()))
    assert signed_base.signature is not None
    bundle = own.bundle(read_bundle(signed_base.signature).payload)
    signed_base.signature.write_text(json.dumps(bundle))
    signer = {
        "identity": ALICE, "identity_provider": PROVIDER, "trust_root": "roots.json"
    }  # fmt: skip
    section = {"files": ["net/w.bin"], "signature": "net/model.sig", "signer": signer}

    def found(**changes):
        target = Target(name="t", base=section | {"signer": signer | changes})
        base = load_base(target, tmp_path, False, [])
        assert base is not None
        return items(base)

    assert not {"origin", "digest", "signature"} & set(found())
    other = found(identity="bob@example.org")
    assert f"is that of {ALICE}" in other["signature"].sentence
    assert {"origin", "digest"} <= set(other)
    for wrong in ({"identity": ""}, {"issuer": PROVIDER}, {"trust_root": "no.json"}):
        with pytest.raises(UsageError, match=r"base\.signer"):
            found(**wrong)
    signed_base.files[0].write_bytes(b"others")
    assert "w.bin was changed" in found()["signature"].sentence


def test_the_configuration_names_signature_and_signer(signed_base, tmp_path):
    section = {"files": ["net/w.bin"], "signature": "net/model.sig", "signer": "my.key.pub"}
    base = load_base(Target(name="t", base=section), tmp_path, False, [])
    assert base is not None
    assert not {"origin", "digest", "signature"} & set(items(base))
    with pytest.raises(UsageError, match=r"base\.signer"):
        load_base(Target(name="t", base=section | {"signer": "no.pub"}), tmp_path, False, [])
