"""Envelopes, keys, and that no byte of a snapshot can be changed unnoticed."""

import json
import os
import shutil
import stat
import subprocess
from dataclasses import replace

import pytest

from crenel.errors import CrenelError, SubjectError, UsageError
from crenel.provenance.envelope import PAYLOAD, Envelope, parse_envelope, read_envelope, to_sign
from crenel.provenance.index import write_index
from crenel.provenance.keys import PASSWORD, make_key, read_private, read_public
from crenel.provenance.outcome import exit_code
from crenel.provenance.reading import file_digest
from crenel.provenance.recording import Statement, record, rows_file, sign
from crenel.provenance.rows import Roles
from crenel.provenance.verification import verify


@pytest.fixture
def manifest(files, private):
    out = files / "m.json"
    record([files / "train.csv"], out, statement=Statement(("acme",)), private=private)
    return out


def passes(manifest, public):
    try:
        return exit_code(verify(manifest, keys=[public])) == 0
    except CrenelError:
        return False


def test_what_is_signed_is_the_encoding_of_the_protocol():
    assert to_sign(b"hello world") == b"DSSEv1 28 application/vnd.in-toto+json 11 hello world"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_another_program_verifies_the_signature(manifest, key, tmp_path):
    envelope = read_envelope(manifest)[0]
    (tmp_path / "message").write_bytes(to_sign(envelope.payload))
    (tmp_path / "sig").write_bytes(envelope.signatures[0][1])
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(key[1]), "-rawin"]
    files = ["-in", str(tmp_path / "message"), "-sigfile", str(tmp_path / "sig")]
    assert subprocess.run([*command, *files], capture_output=True).returncode == 0


def test_the_usual_libraries_verify_and_read_a_manifest(manifest, key):
    dsse = pytest.importorskip("securesystemslib.dsse")
    signer = pytest.importorskip("securesystemslib.signer")
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    raw = json.loads(manifest.read_bytes())
    keyid = raw["signatures"][0]["keyid"]
    trusted = signer.SSlibKey.from_crypto(load_pem_public_key(key[1].read_bytes()), keyid=keyid)
    envelope = dsse.Envelope.from_dict(raw)
    assert list(envelope.verify([trusted], 1)) == [keyid]
    messages = pytest.importorskip("in_toto_attestation.v1.statement_pb2")
    statement = pytest.importorskip("in_toto_attestation.v1.statement")
    from google.protobuf import json_format

    parsed = json_format.Parse(envelope.payload, messages.Statement())
    statement.Statement.copy_from_pb(parsed).validate()


def test_the_statement_is_an_in_toto_statement(manifest):
    raw = json.loads(read_envelope(manifest)[0].payload)
    assert raw["_type"] == "https://in-toto.io/Statement/v1"
    assert raw["predicateType"].startswith("urn:crenel:")
    assert {s["name"] for s in raw["subject"]} == {"train.csv", "m.json.rows"}
    assert all(len(s["digest"]["sha256"]) == 64 for s in raw["subject"])


def test_a_recorded_snapshot_passes(manifest, public):
    assert passes(manifest, public)


@pytest.mark.parametrize("name", ["m.json", "train.csv", "m.json.rows"])
def test_every_byte_of_every_file_counts(manifest, public, name):
    path = manifest.with_name(name)
    content = path.read_bytes()
    for at in range(len(content)):
        changed = bytearray(content)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        assert not passes(manifest, public), f"byte {at} of {name}"
    for other in (content[:-1], content + b" ", b""):
        path.write_bytes(other)
        assert not passes(manifest, public)


def test_a_manifest_of_other_rows_is_caught_although_the_file_is_right(files, private, public):
    """Whoever signs may not state a root that the file does not have."""
    out = files / "m.json"
    manifest = record([files / "train.csv"], out, private=private).manifest
    table = manifest.predicate.tables[0].model_copy(update={"merkle_root": "0" * 64})
    lying = manifest.model_copy(
        update={"predicate": manifest.predicate.model_copy(update={"tables": (table,)})}
    )
    out.write_bytes(Envelope(lying.to_bytes()).signed(private).to_bytes())
    assert exit_code(verify(out, keys=[public])) == 1


def signed_anew(out, manifest, private, **changes):
    """The manifest with other words in its predicate, signed by the same trusted key."""
    predicate = manifest.predicate.model_copy(update=changes)
    changed = manifest.model_copy(update={"predicate": predicate})
    out.write_bytes(Envelope(changed.to_bytes()).signed(private).to_bytes())


def failed(out, public):
    return {t.name for t in verify(out, keys=[public]) if not t.passed}


def test_sources_that_are_not_those_of_the_rows_are_caught(files, private, public):
    out = files / "m.json"
    roles = Roles("bought", "vendor", ("id",))
    manifest = record([files / "train.csv"], out, roles=roles, private=private).manifest
    assert not failed(out, public)
    first, second = manifest.predicate.sources
    moved = (
        first.model_copy(update={"rows": first.rows + 1}),
        second.model_copy(update={"rows": second.rows - 1}),
    )
    signed_anew(out, manifest, private, sources=moved)
    assert failed(out, public) == {"counts"}


def test_a_number_of_rows_that_a_table_does_not_have_is_caught(files, private, public):
    out = files / "m.json"
    manifest = record([files / "train.csv"], out, private=private).manifest
    (table,) = manifest.predicate.tables
    signed_anew(out, manifest, private, tables=(table.model_copy(update={"rows": 41}),))
    assert "train.csv" in failed(out, public)


def test_labels_kept_beside_a_manifest_that_its_rows_do_not_have_are_caught(files, private, public):
    out = files / "m.json"
    roles = Roles("bought", "vendor", ("id",))
    recorded = record([files / "train.csv"], out, roles=roles, private=private)
    index = recorded.indexes["train.csv"]
    codes = index.label_codes.copy()
    codes[3] = 1 - codes[3]
    beside = rows_file(out)
    write_index(beside, {"train.csv": replace(index, label_codes=codes)})
    data, rows = recorded.manifest.subject
    subjects = (data, rows.model_copy(update={"digest": {"sha256": file_digest(beside)}}))
    changed = recorded.manifest.model_copy(update={"subject": subjects})
    out.write_bytes(Envelope(changed.to_bytes()).signed(private).to_bytes())
    assert failed(out, public) == {"train.csv"}


def test_an_older_snapshot_passed_off_as_the_newest_is_caught(files, table, private, public):
    record([files / "train.csv"], files / "old.json", private=private)
    table.tail(30).to_csv(files / "train.csv", index=False)
    said = Statement(parents=(files / "old.json",))
    record([files / "train.csv"], files / "new.json", statement=said, private=private)

    def code(name):
        return exit_code(verify(files / name, keys=[public], parent=files / "old.json"))

    assert code("new.json") == 0
    table.to_csv(files / "train.csv", index=False)
    assert exit_code(verify(files / "old.json", keys=[public])) == 0
    assert code("old.json") == 1


def test_a_key_that_is_not_trusted_and_no_key_at_all(manifest, tmp_path, files, public):
    other = read_public(make_key(tmp_path / "other.key")[0])
    tests = verify(manifest, keys=[other])
    assert tests[0].passed is False
    assert "no signature of a trusted key" in tests[0].sentence
    with pytest.raises(UsageError, match="name it: --key"):
        verify(manifest)
    record([files / "train.csv"], files / "bare.json")
    tests = verify(files / "bare.json", keys=[public])
    assert "not signed" in tests[0].sentence
    assert exit_code(tests) == 1


def test_a_second_signature_is_added_and_the_first_stays(manifest, public, tmp_path):
    beside, _ = make_key(tmp_path / "second.key")
    sign(manifest, read_private(tmp_path / "second.key"))
    sign(manifest, read_private(tmp_path / "second.key"))
    assert len(read_envelope(manifest)[0].signatures) == 2
    assert passes(manifest, public)
    assert passes(manifest, read_public(beside))


def test_a_signature_of_another_type_of_payload_is_none(private, public):
    envelope = Envelope(b"{}")
    wrong = private.sign(to_sign(b"{}").replace(PAYLOAD.encode(), b"application/vnd.in-toto+jsom"))
    keyid = envelope.signed(private).signatures[0][0]
    assert not Envelope(b"{}", ((keyid, wrong),)).signers([public])
    assert envelope.signed(private).signers([public]) == {keyid}


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"nonsense", b'{"payloadType":1}', b"[" * 100_000, b"\xff\xfe"]
)
def test_what_is_no_envelope_is_told_in_one_sentence(content):
    with pytest.raises(SubjectError, match=r"m.json is no signed manifest"):
        parse_envelope(content, "m.json")


def test_a_rewritten_envelope_is_not_read(manifest):
    raw = json.loads(manifest.read_bytes())
    with pytest.raises(SubjectError, match="changed after it was written"):
        parse_envelope(json.dumps(raw, indent=1).encode(), "m.json")


def test_private_keys_are_private_and_never_overwritten(tmp_path, monkeypatch):
    path = tmp_path / "a.key"
    make_key(path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with pytest.raises(UsageError, match="never overwritten"):
        make_key(path)
    (tmp_path / "c.key.pub").write_text("theirs")
    with pytest.raises(UsageError, match=r"c.key.pub exists"):
        make_key(tmp_path / "c.key")
    assert not (tmp_path / "c.key").exists()
    with pytest.raises(UsageError, match=r"is a private key; trust its public one"):
        read_public(path)
    monkeypatch.setenv(PASSWORD, "secret")
    make_key(tmp_path / "b.key")
    assert read_private(tmp_path / "b.key")
    with pytest.raises(UsageError, match="is not encrypted"):
        read_private(path)
    monkeypatch.setenv(PASSWORD, "wrong")
    with pytest.raises(UsageError, match="holds no private key that can be read"):
        read_private(tmp_path / "b.key")
    monkeypatch.delenv(PASSWORD)
    with pytest.raises(UsageError, match=f"set {PASSWORD}"):
        read_private(tmp_path / "b.key")


def test_the_same_rows_in_another_file_are_told_from_other_rows(files, table, private, public):
    out = files / "m.json"
    roles = Roles("bought", "vendor", ("id",))
    record([files / "train.csv"], out, roles=roles, private=private)
    table.to_csv(files / "train.csv", index=False, quoting=1)
    found = [t for t in verify(out, keys=[public]) if t.name == "train.csv"]
    assert "the rows that were recorded, in other bytes" in found[0].sentence
    table.loc[[3, 17], "pay"] += 1e-12
    table.to_csv(files / "train.csv", index=False)
    found = [t for t in verify(out, keys=[public]) if t.name == "train.csv"]
    assert found[0].details["rows"] == [3, 17]
    table.drop(columns="age").to_csv(files / "train.csv", index=False)
    found = [t for t in verify(out, keys=[public]) if t.name == "train.csv"]
    assert "columns" in found[0].sentence
    (files / "train.csv").unlink()
    assert exit_code(verify(out, keys=[public])) == 2
