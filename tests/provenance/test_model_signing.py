"""Signed models: what passes, and that no file and no byte of a signature changes unnoticed."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crenel.cli.entry import run
from crenel.errors import CrenelError, MissingExtra, SubjectError, UsageError
from crenel.provenance.certificates import read_certificates
from crenel.provenance.envelope import to_sign
from crenel.provenance.keyless_roots import read_roots
from crenel.provenance.keys import make_key
from crenel.provenance.model_bundle import Bundle, read_bundle
from crenel.provenance.model_keys import (
    hint_of,
    read_signing_key,
    read_verifying_key,
    sign_payload,
)
from crenel.provenance.model_signature import sign_model, verify_model
from crenel.provenance.model_statement import ModelStatement, Piece, parse_statement
from crenel.provenance.outcome import exit_code

FIXTURE = Path(__file__).parent / "signed_model"
NOW = datetime.now(UTC)


@pytest.fixture(scope="session", params=["p256", "p384", "ed25519"])
def pair(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("model-keys") / "my.key"
    public, _ = make_key(path, request.param)
    return read_signing_key(path), read_verifying_key(public)


@pytest.fixture(scope="session")
def ec_files(tmp_path_factory):
    path = tmp_path_factory.mktemp("ec-keys") / "my.key"
    return path, make_key(path, "p256")[0]


@pytest.fixture
def ec_pair(ec_files):
    return read_signing_key(ec_files[0]), read_verifying_key(ec_files[1])


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "net"
    (folder / "a").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / "weights.bin").write_bytes(bytes(range(256)) * 9000)
    (folder / "a" / "config.json").write_text("{}")
    (folder / "a.txt").write_text("é")
    (folder / "empty").touch()
    (folder / ".git" / "HEAD").write_text("ref")
    return folder


def failed(tests):
    assert exit_code(tests) == 1
    return "; ".join(t.sentence for t in tests if t.passed is False)


def payload_of(path):
    return json.loads(base64.b64decode(json.loads(path.read_bytes())["dsseEnvelope"]["payload"]))


def test_a_signed_folder_passes_and_says_what_is_not_covered(model, pair):
    out = model / "model.sig"
    sign_model(model, out, pair[0])
    tests = verify_model(model, out, keys=[pair[1]])
    assert exit_code(tests) == 0
    assert tests[-1].sentence == "4 files are as they were signed; not covered: .git"


def test_a_signed_file_passes_under_another_name(model, pair, tmp_path):
    out = tmp_path / "w.sig"
    sign_model(model / "weights.bin", out, pair[0])
    (model / "weights.bin").rename(model / "renamed.bin")
    assert exit_code(verify_model(model / "renamed.bin", out, keys=[pair[1]])) == 0
    (model / "renamed.bin").write_bytes(b"x")
    assert "the file was changed" in failed(
        verify_model(model / "renamed.bin", out, keys=[pair[1]])
    )


def test_the_statement_is_that_of_the_specification(model, ec_pair):
    out = model / "model.sig"
    sign_model(model, out, ec_pair[0])
    said = payload_of(out)
    names = ["a/config.json", "a.txt", "empty", "weights.bin"]
    digests = [hashlib.sha256((model / name).read_bytes()).digest() for name in names]
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["predicateType"] == "https://model_signing/signature/v1.0"
    whole = hashlib.sha256(b"".join(digests)).hexdigest()
    assert said["subject"] == [{"name": "net", "digest": {"sha256": whole}}]
    assert said["predicate"]["resources"] == [
        {"name": n, "algorithm": "sha256", "digest": d.hex()} for n, d in zip(names, digests)
    ]
    how = said["predicate"]["serialization"]
    assert (how["method"], how["hash_type"], how["allow_symlinks"]) == ("files", "sha256", False)
    assert {".git", "model.sig"} <= set(how["ignore_paths"])


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_another_program_verifies_the_signature(model, ec_files, tmp_path):
    out = tmp_path / "model.sig"
    sign_model(model, out, read_signing_key(ec_files[0]))
    bundle = read_bundle(out)
    (tmp_path / "sig").write_bytes(bundle.signature)
    (tmp_path / "message").write_bytes(to_sign(bundle.payload))
    command = ["openssl", "dgst", "-sha256", "-verify", str(ec_files[1])]
    files = ["-signature", str(tmp_path / "sig"), str(tmp_path / "message")]
    assert subprocess.run([*command, *files], capture_output=True).returncode == 0


TAMPERING = {
    "weights.bin was changed": lambda m: (m / "weights.bin").write_bytes(b"\0" * 2_304_000),
    "a/config.json was missing": lambda m: (m / "a" / "config.json").unlink(),
    "a/evil.py was not signed": lambda m: (m / "a" / "evil.py").write_text(""),
    "empty was changed": lambda m: (m / "empty").write_text("\n"),
    "a.txt is a symbolic link": lambda m: (
        (m / "a.txt").rename(m.parent / "a.txt"),
        (m / "a.txt").symlink_to(m.parent / "a.txt"),
    ),
    "more is a symbolic link": lambda m: (m / "more").symlink_to(m.parent),
    "pipe is neither a file nor a folder": lambda m: os.mkfifo(m / "pipe"),
}


@pytest.mark.parametrize("sentence", TAMPERING)
def test_a_change_is_told_with_its_place(sentence, model, ec_pair, tmp_path):
    out = tmp_path / "model.sig"
    sign_model(model, out, ec_pair[0])
    TAMPERING[sentence](model)
    assert sentence in failed(verify_model(model, out, keys=[ec_pair[1]]))


def test_a_name_that_would_steer_the_terminal_is_shown_harmless(model, ec_pair, tmp_path):
    out = tmp_path / "model.sig"
    sign_model(model, out, ec_pair[0])
    (model / "\x1b[2Jx").touch()
    assert "\\x1b[2Jx was not signed" in failed(verify_model(model, out, keys=[ec_pair[1]]))


def test_links_count_only_where_the_signer_allowed_them(model, ec_pair, tmp_path):
    (model / "link").symlink_to(model / "a.txt")
    out = tmp_path / "model.sig"
    with pytest.raises(SubjectError, match="link is a symbolic link"):
        sign_model(model, out, ec_pair[0])
    sign_model(model, out, ec_pair[0], symlinks=True)
    assert exit_code(verify_model(model, out, keys=[ec_pair[1]])) == 0
    (model / "a.txt").write_text("other")
    told = failed(verify_model(model, out, keys=[ec_pair[1]]))
    assert told.startswith("a.txt, link were changed")


def test_ignored_files_may_change_and_others_of_that_beginning_may_not(model, ec_pair, tmp_path):
    out = tmp_path / "model.sig"
    (model / "a.txt.bak").touch()
    sign_model(model, out, ec_pair[0], ignored=["a.txt"])
    (model / "a.txt").write_text("free")
    assert exit_code(verify_model(model, out, keys=[ec_pair[1]])) == 0
    (model / "a.txt.bak").write_text("not free")
    assert "a.txt.bak was changed" in failed(verify_model(model, out, keys=[ec_pair[1]]))


def test_another_key_is_told_from_a_changed_signature(model, ec_pair, tmp_path):
    out = tmp_path / "model.sig"
    sign_model(model, out, ec_pair[0])
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    assert "with another key" in failed(verify_model(model, out, keys=[other]))
    assert exit_code(verify_model(model, out, keys=[other, ec_pair[1]])) == 0
    raw = json.loads(out.read_bytes())
    said = payload_of(out)
    said["predicate"]["serialization"]["ignore_paths"].append("weights.bin")
    raw["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(said).encode()).decode()
    out.write_text(json.dumps(raw))
    tests = verify_model(model, out, keys=[ec_pair[1]])
    assert failed(tests) == "the signature was changed after it was made"
    assert tests[1].passed is None


@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_changed_byte_of_a_bundle_passes_with_other_files(data, ec_pair, tmp_path_factory):
    folder = tmp_path_factory.mktemp("byte")
    model, out = folder / "w.bin", folder / "model.sig"
    model.write_bytes(b"abc")
    sign_model(model, out, ec_pair[0])
    content = bytearray(out.read_bytes())
    # an ECDSA signature is not of one length: what is drawn must not depend on it
    at = data.draw(st.integers(0, 1 << 20)) % len(content)
    content[at] ^= data.draw(st.integers(1, 255))
    out.write_bytes(content)
    model.write_bytes(b"abd")
    try:
        code = exit_code(verify_model(model, out, keys=[ec_pair[1]]))
    except CrenelError as error:
        code = error.exit_code
    assert code in (1, 2)


@given(content=st.binary(max_size=300))
def test_any_bytes_are_refused_in_one_sentence(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.sig"
    path.write_bytes(content)
    with pytest.raises(SubjectError, match=r"any.sig is damaged, or no signature"):
        read_bundle(path)


names = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=8).filter(
        lambda part: part not in (".", "..")
    ),
    min_size=1,
    max_size=3,
).map("/".join)


@given(st.dictionaries(names, st.binary(min_size=32, max_size=32), min_size=1), st.booleans())
def test_statements_are_read_as_they_were_written(files, symlinks):
    pieces = {name: (Piece(digest),) for name, digest in files.items()}
    statement = ModelStatement("net", pieces, ignored=(".git",), symlinks=symlinks)
    assert parse_statement(statement.to_bytes(), "m") == statement


def signed_statement(change):
    said = json.loads(ModelStatement("net", {"a": (Piece(b"\1" * 32),)}).to_bytes())
    change(said)
    return json.dumps(said).encode()


def relist(said, names, method="files"):
    digest = b"\1" * 32
    said["predicate"]["serialization"]["method"] = method
    said["predicate"]["resources"] = [
        {"name": n, "algorithm": "sha256", "digest": digest.hex()} for n in names
    ]
    whole = hashlib.sha256(digest * len(names)).hexdigest()
    said["subject"][0]["digest"]["sha256"] = whole


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: relist(s, ["../a"]), "no path within the model"),
        (lambda s: relist(s, ["/etc/passwd"]), "no path within the model"),
        (lambda s: relist(s, ["a", "a"]), "lists a twice"),
        (lambda s: relist(s, []), "lists no file"),
        (lambda s: relist(s, ["a:0:5", "a:6:9"], "shards"), "not all of it"),
        (lambda s: relist(s, ["a:1:5"], "shards"), "not all of it"),
        (lambda s: s["subject"][0]["digest"].update(sha256="0" * 64), "do not add up"),
        (lambda s: s["predicate"]["serialization"].update(hash_type="blake3"), "blake3"),
        (lambda s: s.update(predicateType="urn:other"), "statement of another kind"),
        (lambda s: s["predicate"].pop("resources"), "field is missing"),
        (lambda s: s["predicate"].update(resources=[7]), "field is missing"),
    ],
)
def test_damaged_lists_are_refused(change, sentence):
    with pytest.raises(SubjectError, match=sentence):
        parse_statement(signed_statement(change), "m.sig")


def write_signed(path, key, said):
    payload = json.dumps(said).encode()
    bundle = Bundle(payload, sign_payload(key, payload), hint_of(key.public_key()))
    path.write_bytes(bundle.to_bytes())


@pytest.mark.parametrize(("change", "code"), [(None, 0), (b"abcdefghiX", 1), (b"abcdefghij+", 1)])
def test_files_signed_in_shards_are_compared_piece_by_piece(change, code, ec_pair, tmp_path):
    content, folder = b"abcdefghij", tmp_path / "net"
    folder.mkdir()
    (folder / "w").write_bytes(content)
    (folder / "empty").touch()  # it has no shards, so that no signature lists it
    cuts = [(0, 4), (4, 8), (8, 10)]
    digests = [hashlib.sha256(content[a:b]).digest() for a, b in cuts]
    said = json.loads(ModelStatement("net", {"w": (Piece(digests[0]),)}).to_bytes())
    relist(said, [f"w:{a}:{b}" for a, b in cuts], "shards")
    for resource, digest in zip(said["predicate"]["resources"], digests):
        resource.update(digest=digest.hex(), algorithm="sha256-sharded-4")
    whole = hashlib.sha256(b"".join(digests)).hexdigest()
    said["subject"][0]["digest"]["sha256"] = whole
    write_signed(tmp_path / "model.sig", ec_pair[0], said)
    if change:
        (folder / "w").write_bytes(change)
    tests = verify_model(folder, tmp_path / "model.sig", keys=[ec_pair[1]])
    assert exit_code(tests) == code
    if code == 0:
        assert tests[1].sentence == "the file is as it was signed; not covered: empty"


def test_signatures_of_the_first_release_pass(ec_pair, tmp_path):
    """Release 0.2 signed the digests as subjects, over a message with a flaw in its encoding."""
    (tmp_path / "w").write_bytes(b"abc")
    digest = hashlib.sha256(b"abc").hexdigest()
    said = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "w", "digest": {"sha256": digest}}],
        "predicateType": "https://model_signing/Digests/v0.1",
    }
    payload = json.dumps(said).encode()
    flawed = f"DSSEV1 28 application/vnd.in-toto+json {len(payload)} {payload}".encode()
    signature = ec_pair[0].sign(flawed, ec.ECDSA(hashes.SHA256()))
    out = tmp_path / "model.sig"
    out.write_bytes(Bundle(payload, signature).to_bytes())
    assert exit_code(verify_model(tmp_path, out, keys=[ec_pair[1]], ignored=["model.sig"])) == 0
    (tmp_path / "w").write_bytes(b"abd")
    assert "w was changed" in failed(verify_model(tmp_path, out, keys=[ec_pair[1]]))


def test_signatures_by_identity_do_not_pass_with_a_key(model, ec_pair, tmp_path):
    out = tmp_path / "model.sig"
    sign_model(model, out, ec_pair[0])
    raw = json.loads(out.read_bytes())
    raw["verificationMaterial"]["tlogEntries"] = [{"logIndex": "1"}]
    out.write_text(json.dumps(raw))
    assert "verify it with --identity" in failed(verify_model(model, out, keys=[ec_pair[1]]))


def test_the_extra_for_identities_is_named_where_it_is_missing(model, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sigstore", None)
    with pytest.raises(MissingExtra, match=r"crenel\[sigstore\]"):
        read_roots()
    assert run(["provenance", "sign-model", str(model), "--sigstore"]) == 64
    assert "pip install 'crenel[sigstore]'" in capsys.readouterr().err


class Authority:
    """Makes certificates."""

    def __init__(self, name="root", issuer=None, *, ca=True, key=None, **options):
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.issuer = issuer or self
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        start, days = options.get("start", NOW - timedelta(days=30)), options.get("days", 60)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if issuer is None else issuer.certificate.subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca, options.get("length")), critical=True)
        )
        usage = [True, *[False] * 4, ca, *[False] * 3]
        if options.get("usage", True):
            builder = builder.add_extension(x509.KeyUsage(*usage), critical=True)
        for extension in options.get("more", ()):
            builder = builder.add_extension(extension, critical=options.get("critical", True))
        self.certificate = builder.sign(self.issuer.key, hashes.SHA256())


CODE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
STRANGE = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0")
INSIDE = x509.NameConstraints([x509.DNSName("example.org")], None)


def signed_by(model, out, *authorities):
    """Sign with the first authority's key, past the tests that signing makes."""
    sign_model(model, out, authorities[0].key)
    bundle = read_bundle(out)
    ders = [a.certificate.public_bytes(serialization.Encoding.DER) for a in authorities]
    out.write_bytes(Bundle(bundle.payload, bundle.signature, chain=tuple(ders)).to_bytes())


def test_a_chain_of_certificates_leads_to_the_root(model, tmp_path):
    root = Authority(length=1)
    middle = Authority("middle", root, length=0)
    leaf = Authority("Acme models", middle, ca=False, more=(CODE,))
    out = tmp_path / "model.sig"
    certificates = [leaf.certificate, middle.certificate]
    sign_model(model, out, leaf.key, certificates=certificates)
    tests = verify_model(model, out, roots=[root.certificate])
    assert exit_code(tests) == 0
    assert tests[0].sentence == "signed by CN=Acme models"
    assert exit_code(verify_model(model, out, roots=[leaf.certificate])) == 0
    other = Authority()
    assert "nobody who is trusted" in failed(verify_model(model, out, roots=[other.certificate]))
    with pytest.raises(UsageError, match="not that of the key"):
        sign_model(model, out, other.key, certificates=certificates)


def leaf_of(issuer=None, **options):
    return Authority("leaf", issuer or Authority(), ca=False, **options)


def through(middle):
    return [leaf_of(middle), middle]


OLD = NOW - timedelta(days=300)
CHAINS = {
    "expired on": lambda r: [leaf_of(r, start=OLD)],
    "not valid before": lambda r: [leaf_of(r, start=NOW + timedelta(days=3))],
    "not for signing code": lambda r: [leaf_of(r, more=(SERVER,))],
    "does not say that its key may sign": lambda r: [leaf_of(r, usage=False)],
    "not supported .1.2.3.4": lambda r: [leaf_of(r, more=(STRANGE,))],
    "no certificate authority": lambda r: through(Authority("m", r, ca=False)),
    "extension that is not supported": lambda r: through(
        Authority("m", r, more=(INSIDE,), critical=False)
    ),
    "fewer certificates below": lambda r: through(Authority("m", Authority("n", r, length=0))) + [],
    "none of the roots": lambda r: [leaf_of(Authority())],
}


@pytest.mark.parametrize("sentence", CHAINS)
def test_certificates_that_prove_nothing_fail(sentence, model, tmp_path):
    root, out = Authority(), tmp_path / "model.sig"
    chain = CHAINS[sentence](root)
    if chain[-1].issuer is not root:
        chain.append(chain[-1].issuer)
    signed_by(model, out, *chain)
    assert re.search(sentence, failed(verify_model(model, out, roots=[root.certificate])))


def test_an_expired_certificate_counts_where_that_is_allowed(model, tmp_path):
    root, out = Authority(start=OLD, days=600), tmp_path / "model.sig"
    signed_by(model, out, leaf_of(root, start=OLD))
    trusted = [root.certificate]
    assert exit_code(verify_model(model, out, roots=trusted, allow_expired=True)) == 0
    (model / "a.txt").write_text("other")
    assert exit_code(verify_model(model, out, roots=trusted, allow_expired=True)) == 1


def test_a_certificate_that_another_key_signed_for_fails(model, tmp_path):
    root, out = Authority(), tmp_path / "model.sig"
    forged = Authority("root")
    signed_by(model, out, leaf_of(forged))
    assert exit_code(verify_model(model, out, roots=[root.certificate])) == 1
    signed_by(model, out, leaf_of(root))
    bundle = read_bundle(out)
    mine = sign_payload(forged.key, bundle.payload)
    out.write_bytes(Bundle(bundle.payload, mine, chain=bundle.chain).to_bytes())
    assert "is not that of CN=leaf" in failed(verify_model(model, out, roots=[root.certificate]))


@pytest.fixture(scope="session")
def certified(tmp_path_factory):
    folder, root = tmp_path_factory.mktemp("certified"), Authority()
    (folder / "w").write_bytes(b"abc")
    more = (CODE, x509.SubjectAlternativeName([x509.DNSName("example.org")]))
    signed_by(folder / "w", folder / "w.sig", leaf_of(root, more=more))
    return folder, root.certificate


@settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_changed_byte_of_a_certificate_passes(data, certified, tmp_path_factory):
    folder, root = certified
    bundle = read_bundle(folder / "w.sig")
    der = bytearray(bundle.chain[0])
    der[data.draw(st.integers(0, len(der) - 1))] ^= data.draw(st.integers(1, 255))
    out = tmp_path_factory.getbasetemp() / "changed.sig"
    out.write_bytes(Bundle(bundle.payload, bundle.signature, chain=(bytes(der),)).to_bytes())
    assert exit_code(verify_model(folder / "w", folder / "w.sig", roots=[root])) == 0
    assert "certificate" in failed(verify_model(folder / "w", out, roots=[root]))


def test_a_certificate_with_bits_that_no_reader_looks_at_fails(model, tmp_path):
    """The bits at the end that are declared unused are no part of what is verified."""
    root, out = Authority(), tmp_path / "model.sig"
    leaf = leaf_of(root)
    while leaf.certificate.signature[-1] % 2:  # only a bit that is 0 can be declared unused
        leaf = leaf_of(root)
    signed_by(model, out, leaf)
    bundle = read_bundle(out)
    der = bytearray(bundle.chain[0])
    der[-len(leaf.certificate.signature) - 1] = 1
    x509.load_der_x509_certificate(bytes(der)).verify_directly_issued_by(root.certificate)
    out.write_bytes(Bundle(bundle.payload, bundle.signature, chain=(bytes(der),)).to_bytes())
    assert "certificate" in failed(verify_model(model, out, roots=[root.certificate]))


def test_a_key_cannot_stand_in_for_a_certificate(model, ec_pair, tmp_path):
    root, out = Authority(), tmp_path / "model.sig"
    sign_model(model, out, ec_pair[0])
    assert "no certificate" in failed(verify_model(model, out, roots=[root.certificate]))
    for given_ in ({}, {"keys": [ec_pair[1]], "roots": [root.certificate]}):
        with pytest.raises(UsageError, match="either"):
            verify_model(model, out, **given_)


def test_keys_of_other_kinds_are_refused(tmp_path):
    path = tmp_path / "rsa.key"
    key = rsa.generate_private_key(65537, 2048)
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(pem)
    with pytest.raises(UsageError, match="neither an EC key"):
        read_signing_key(path)


def test_the_command_signs_and_verifies(model, tmp_path, capsys):
    key, out = tmp_path / "my.key", model / "model.sig"
    assert run(["provenance", "keygen", str(key), "--kind", "p256"]) == 0
    made = re.search(r"key ([0-9a-f]{16})", capsys.readouterr().out)
    sign = ["provenance", "sign-model", str(model), "--key", str(key)]
    assert run([*sign, "--ignore", "a.txt"]) == 0
    assert "3 files signed" in capsys.readouterr().out
    assert run(sign) == 64
    verify = ["provenance", "verify-model", str(model), "--signature", str(out)]
    assert run([*verify, "--key", f"{key}.pub", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "pass"
    assert made is not None
    assert told["tests"][0]["details"]["key"].startswith(made[1])
    assert told["tests"][1]["details"]["not covered"] == [".git", "a.txt"]
    (model / "weights.bin").unlink()
    assert run([*verify, "--key", f"{key}.pub"]) == 1
    assert "weights.bin was missing" in capsys.readouterr().out
    assert run(verify) == 64
    out.write_text("{")
    assert run([*verify, "--key", f"{key}.pub"]) == 2


def test_the_command_takes_certificates(model, tmp_path):
    root = Authority()
    leaf = leaf_of(root)
    pem = serialization.Encoding.PEM
    for name, certificate in (("root", root), ("leaf", leaf)):
        (tmp_path / f"{name}.pem").write_bytes(certificate.certificate.public_bytes(pem))
    secret = leaf.key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "leaf.key").write_bytes(secret)
    out, files = tmp_path / "m.sig", [str(tmp_path / f) for f in ("leaf.key", "leaf.pem")]
    sign = ["provenance", "sign-model", str(model), "--key", files[0], "--certificate", files[1]]
    chain = ["--chain", str(tmp_path / "root.pem")]
    assert run([*sign, *chain, "--out", str(out)]) == 0
    verify = ["provenance", "verify-model", str(model), "--signature", str(out)]
    assert run([*verify, "--roots", str(tmp_path / "root.pem")]) == 0
    assert run([*verify, "--roots", str(tmp_path / "leaf.key")]) == 64


def test_a_signature_kept_with_its_model_still_passes(tmp_path):
    public = read_verifying_key(FIXTURE / "signer.pub")
    roots = read_certificates(FIXTURE / "root.pem")
    by_key = verify_model(FIXTURE / "model", FIXTURE / "key.sig", keys=[public])
    by_root = verify_model(FIXTURE / "model", FIXTURE / "certificate.sig", roots=roots)
    assert (exit_code(by_key), exit_code(by_root)) == (0, 0)
