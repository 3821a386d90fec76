"""Signatures by identity: what passes, and that no other signer, time, log or content does."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from threading import Thread
from urllib.request import urlopen

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crenel.cli.entry import run
from crenel.errors import CrenelError, SubjectError, UsageError
from crenel.provenance.keyless import Identity, verify_content, verify_statement
from crenel.provenance.keyless_roots import read_roots, read_services
from crenel.provenance.keyless_signing import TOKEN, Signer
from crenel.provenance.keys import make_key
from crenel.provenance.model_keys import read_signing_key, read_verifying_key
from crenel.provenance.model_signature import sign_model, sign_model_by_identity, verify_model
from crenel.provenance.model_statement import ModelStatement, Piece, parse_statement
from crenel.provenance.outcome import exit_code

pytest.importorskip("sigstore", reason="needs the extra sigstore")

from tests.provenance.own_sigstore import (
    ALICE,
    NOW,
    PROVIDER,
    OwnSigstore,
    b64,
    new_key,
    token,
)

DIGEST = base64.b16decode(b"BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD")
PAYLOAD = ModelStatement("net", {"w": (Piece(DIGEST),)}).to_bytes()
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """No token of the machine's, and no roots that somebody fetched here."""
    monkeypatch.delenv(TOKEN, raising=False)
    monkeypatch.setattr("sigstore.oidc.detect_credential", lambda *_: None)
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))


@pytest.fixture(scope="module")
def own():
    return OwnSigstore()


@pytest.fixture(scope="module")
def roots(own, tmp_path_factory):
    path = tmp_path_factory.mktemp("roots") / "trusted_root.json"
    path.write_text(json.dumps(own.roots()))
    return path


@pytest.fixture(scope="module")
def alice(roots):
    return Identity(ALICE, PROVIDER, read_roots(roots))


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "w").write_bytes(b"abc")  # whose digest is that of FIPS 180
    return folder


def verified(bundle, model, identity):
    path = model / "model.sig"
    path.write_text(json.dumps(bundle) if isinstance(bundle, dict) else bundle)
    return verify_model(model, path, identity=identity, ignored=["model.sig"])


def failed(tests):
    assert exit_code(tests) == 1
    return "; ".join(t.sentence for t in tests if t.passed is False)


def test_a_signature_by_the_identity_passes_and_says_whose_it_is(own, model, alice):
    tests = verified(own.bundle(PAYLOAD), model, alice)
    assert exit_code(tests) == 0
    assert (
        tests[0].sentence
        == f"signed by {ALICE} ({PROVIDER}) on {NOW - timedelta(minutes=1):%Y-%m-%d}"
    )
    assert tests[1].sentence.startswith("the file is as it was signed")  # fmt: skip


def test_an_old_signature_passes_for_good(own, model, alice):
    then = NOW - 300 * DAY
    bundle = own.bundle(PAYLOAD, start=then, at=then + timedelta(minutes=5))
    assert exit_code(verified(bundle, model, alice)) == 0


def test_a_workflow_is_an_identity_too(own, model, alice):
    who = "https://git.example.org/net/.workflows/release.yml@refs/tags/v1"
    assert exit_code(verified(own.bundle(PAYLOAD, name=who), model, replace(alice, name=who))) == 0
    assert who in failed(verified(own.bundle(PAYLOAD, name=who), model, alice))


@pytest.mark.parametrize(
    ("claims", "sentence"),
    [
        ({"name": "mallory@example.org"}, r"is that of mallory@example\.org .* not of alice"),
        ({"name": "alice@example.org.evil.net"}, r"not of alice@example\.org \("),
        ({"provider": "https://evil.example.net"}, r"\(https://evil\.example\.net\), not of"),
        ({"provider": PROVIDER + "/"}, "not of alice"),
        ({"at": NOW + timedelta(minutes=10)}, "not valid at the time"),
        ({"at": NOW - timedelta(minutes=2)}, "not valid at the time"),
        ({"start": NOW - 300 * DAY, "at": NOW}, "not valid at the time"),
        ({"authority": new_key()}, "none of the roots issued"),
        ({"logged": PAYLOAD.replace(b"net", b"bad")}, "payload hash does not match"),
    ],
)
def test_what_another_signed_or_at_another_time_fails(claims, sentence, own, model, alice):
    told = failed(verified(own.bundle(PAYLOAD, **claims), model, alice))
    assert re.search(sentence, told), told


@pytest.mark.parametrize("service", ["authority", "certificate_log", "log"])
def test_a_sigstore_with_one_key_of_another_fails(service, own, model, alice):
    other = OwnSigstore()
    other.__dict__ |= {k: v for k, v in own.__dict__.items() if k != service}
    if service == "authority":
        other.__dict__["root"] = OwnSigstore().root
    assert exit_code(verified(other.bundle(PAYLOAD), model, alice)) == 1


def test_changed_files_are_named(own, model, alice):
    (model / "w").write_bytes(b"abd")
    (model / "more").touch()
    told = failed(verified(own.bundle(PAYLOAD), model, alice))
    assert "w was changed" in told
    assert "more was not signed" in told


OTHER = ModelStatement("net", {"w": (Piece(hashlib.sha256(b"abd").digest()),)}).to_bytes()


def entry(bundle):
    return bundle["verificationMaterial"]["tlogEntries"][0]


def proof(bundle):
    return entry(bundle)["inclusionProof"]


def envelope(bundle):
    return bundle["dsseEnvelope"]


FORGERIES = {
    "payload type": lambda b: envelope(b).update(payloadType="text/plain"),
    "signature": lambda b: envelope(b).update(signatures=[{"sig": b64(bytes(70))}]),
    "no signature": lambda b: envelope(b).update(signatures=[]),
    "proof": lambda b: proof(b).update(hashes=[b64(bytes(32)), proof(b)["hashes"][1]]),
    "place": lambda b: proof(b).update(logIndex="0"),
    "root": lambda b: proof(b).update(rootHash=b64(bytes(32))),
    "promise": lambda b: entry(b)["inclusionPromise"].update(signedEntryTimestamp=b64(bytes(70))),
    "time": lambda b: entry(b).update(integratedTime=str(int(NOW.timestamp()) + 60)),
    "no promise": lambda b: entry(b).pop("inclusionPromise"),
    "no proof": lambda b: entry(b).pop("inclusionProof"),
    "no entry": lambda b: b["verificationMaterial"].update(tlogEntries=[]),
    "two entries": lambda b: b["verificationMaterial"].update(tlogEntries=[entry(b), entry(b)]),
    "certificate": lambda b: b["verificationMaterial"]["certificate"].update(rawBytes=b64(b"0")),
}


@pytest.mark.parametrize("part", FORGERIES)
def test_no_part_of_the_proof_can_be_forged_or_left_out(part, own, model, alice):
    bundle = own.bundle(PAYLOAD)
    FORGERIES[part](bundle)
    try:
        told = failed(verified(bundle, model, alice))
    except SubjectError as error:
        told = str(error)
    assert "\n" not in told


def test_other_files_do_not_pass_under_a_signature_of_these(own, model, alice):
    (model / "w").write_bytes(b"abd")
    plain, twice = own.bundle(PAYLOAD), own.bundle(PAYLOAD)
    plain["dsseEnvelope"]["payload"] = b64(OTHER)
    # both spellings are one field to the library
    twice["dsse_envelope"] = envelope(twice)
    twice["dsseEnvelope"] = envelope(plain)
    for bundle in (plain, twice):
        failed(verified(bundle, model, alice))


def test_bytes_of_another_kind_are_no_statement(own, alice):
    bundle = own.bundle(PAYLOAD, kind="application/json")
    test, payload = verify_statement(json.dumps(bundle).encode(), alice)
    assert (test.passed, payload) == (False, b"")
    assert test.sentence == "what was signed is no statement: application/json"


def test_whatever_byte_is_changed_nothing_else_counts_as_signed(own, alice):
    content = json.dumps(own.bundle(PAYLOAD)).encode()

    @settings(deadline=None, max_examples=60)
    @given(st.floats(0, 1, exclude_max=True), st.integers(0, 127))
    def check(place, byte):
        at = int(place * len(content))
        changed = content[:at] + bytes([byte]) + content[at + 1 :]
        test, payload = verify_statement(changed, alice)
        assert payload == (PAYLOAD if test.passed else b"")

    assert verify_statement(content, alice)[1] == PAYLOAD
    check()


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=30)
def test_garbage_is_no_signature(content):
    who = Identity(ALICE, PROVIDER, object())
    test = verify_content(b"", content, who)
    assert test.passed is False
    assert "\n" not in test.sentence


def test_an_identity_without_its_provider_is_refused(alice):
    for part in ("name", "provider"):
        with pytest.raises(UsageError, match="give both"):
            replace(alice, **{part: ""})


def test_keys_and_identities_are_told_apart(own, model, alice, tmp_path):
    public, _ = make_key(tmp_path / "my.key", "p256")
    out = tmp_path / "model.sig"
    sign_model(model, out, read_signing_key(tmp_path / "my.key"))
    assert "made with a key" in failed(verify_model(model, out, identity=alice))
    out.write_text(json.dumps(own.bundle(PAYLOAD)))
    key = read_verifying_key(public)
    assert "with --identity" in failed(verify_model(model, out, keys=[key]))
    assert "with --identity" in failed(verify_model(model, out, roots=[own.root]))
    with pytest.raises(UsageError, match="without somebody who is trusted"):
        verify_model(model, out, keys=[key], identity=alice)


def test_a_file_that_holds_no_roots_is_refused(tmp_path, own):
    path = tmp_path / "roots.json"
    for content in ("", "{}", "[]", json.dumps({**own.roots(), "mediaType": "x"})):
        path.write_text(content)
        with pytest.raises(UsageError, match="no trusted root"):
            read_roots(path)
        with pytest.raises(UsageError, match="no client trust configuration"):
            read_services(path)
    path.write_text(json.dumps(own.services("http://localhost")))
    assert read_roots(path).get_fulcio_certs() == [own.root]


def test_the_roots_that_ship_with_the_library_need_no_network(own, model, alice, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", refuse)
    public = replace(alice, roots=read_roots(offline=True))
    assert "none of the roots issued" in failed(verified(own.bundle(PAYLOAD), model, public))
    with pytest.raises(CrenelError, match="is there a network") as raised:
        read_roots()
    assert "\n" not in str(raised.value)


def refuse(*_):
    raise OSError("there is no network")


@pytest.fixture
def services(own, tmp_path):
    """The configuration of the services while they run, and what they were asked."""
    with own.served() as (url, asked):
        path = tmp_path / "services.json"
        path.write_text(json.dumps(own.services(url)))
        yield path, asked


def test_signing_asks_authority_and_log_and_others_verify_it(services, model, alice):
    path, asked = services
    out = model / "model.sig"
    statement, signed = sign_model_by_identity(model, out, Signer(read_services(path), token()))
    assert asked == ["/api/v2/signingCert", "/api/v1/log/entries"]
    assert (signed.name, signed.provider) == (ALICE, PROVIDER)
    assert exit_code(verify_model(model, out, identity=alice)) == 0
    signed_bytes = base64.b64decode(json.loads(out.read_bytes())["dsseEnvelope"]["payload"])
    said = parse_statement(signed_bytes, "model.sig")
    assert said == statement
    assert said.files == {"w": (Piece(DIGEST),)}


def test_somebody_at_a_terminal_logs_in_with_a_browser(services, model, alice, monkeypatch):
    threads = []

    def browse(url):
        threads.append(Thread(target=lambda: urlopen(url).close()))
        threads[-1].start()
        return True

    monkeypatch.setattr("webbrowser.open", browse)
    signer = Signer(read_services(services[0]), interactive=True)
    sign_model_by_identity(model, model / "m.sig", signer)
    threads[0].join()
    wanted = ["/.well-known/openid-configuration", "/in", "/token"]
    assert services[1][:3] == wanted
    assert exit_code(verify_model(model, model / "m.sig", identity=alice)) == 0


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (lambda: "", "nobody's identity is known"),
        (lambda: "no.token.here", "malformed"),
        (lambda: token(minutes=-1), "malformed|validity"),
        (lambda: token(audience="others"), "malformed"),
        (lambda: token("refused"), "403"),  # made when it is used: it is good for five minutes
    ],
)
def test_why_nothing_was_signed_is_one_sentence(given, sentence, services, model):
    with pytest.raises(CrenelError, match=sentence) as raised:
        sign_model_by_identity(model, model / "m.sig", Signer(read_services(services[0]), given()))
    assert "\n" not in str(raised.value)
    assert not (model / "m.sig").exists()


def test_without_a_network_nothing_is_signed(own, model, tmp_path):
    path = tmp_path / "services.json"
    path.write_text(json.dumps(own.services("http://127.0.0.1:9")))
    with pytest.raises(CrenelError, match="cannot be reached"):
        sign_model_by_identity(model, model / "m.sig", Signer(read_services(path), token()))
    assert not (model / "m.sig").exists()


def test_what_a_log_returns_is_verified_before_it_counts(services, own, model, monkeypatch):
    late = NOW + timedelta(hours=1)
    original = OwnSigstore.entry
    monkeypatch.setattr(
        OwnSigstore, "entry", lambda self, body, at=None: original(self, body, late)
    )
    with pytest.raises(CrenelError, match="nothing was signed"):
        sign_model_by_identity(model, model / "m.sig", Signer(read_services(services[0]), token()))
    assert not (model / "m.sig").exists()


def test_the_command_signs_and_verifies(services, roots, model, capsys, monkeypatch):
    out = model / "model.sig"
    sign = ["provenance", "sign-model", str(model), "--trust-config", str(services[0])]
    monkeypatch.setattr("sys.stdin", StringIO())  # not a terminal
    assert run(sign) == 64
    assert run([*sign, "--sigstore"]) == 64
    assert "identity is known" in capsys.readouterr().err
    monkeypatch.setenv(TOKEN, token())
    assert run([*sign, "--sigstore", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "signature": str(out), "files": 1, "identity": ALICE, "identity_provider": PROVIDER
    }  # fmt: skip
    verify = ["provenance", "verify-model", str(model), "--signature", str(out)]
    who = ["--identity", ALICE, "--identity-provider", PROVIDER, "--trust-root", str(roots)]
    assert run([*verify, *who]) == 0
    assert f"signed by {ALICE}" in capsys.readouterr().out
    assert run([*verify, *who[:1], "bob@example.org", *who[2:]]) == 1
    assert run([*verify, *who[:2], *who[4:]]) == 64
    assert run([*verify, "--offline"]) == 64
    assert run([*verify, *who, "--staging"]) == 64
    assert run([*sign, "--sigstore", "--key", str(roots), "--force"]) == 64
    (model / "w").write_bytes(b"")
    assert run([*verify, *who]) == 1


def test_a_manifest_is_signed_by_identity_in_a_file_beside_it(services, roots, tmp_path, capsys):
    data, manifest = tmp_path / "d.csv", tmp_path / "m.json"
    data.write_text("a,b\n1,2\n3,4\n")
    assert run(["provenance", "record", str(data), "-o", str(manifest)]) == 0
    sign = ["provenance", "sign", str(manifest), "--sigstore", "--trust-config", str(services[0])]
    verify = ["provenance", "verify", str(manifest), "--identity", ALICE]
    verify += ["--identity-provider", PROVIDER, "--trust-root", str(roots)]
    assert run(verify) == 1
    assert "cannot be read" in capsys.readouterr().out
    assert run([*sign, "--identity-token", token()]) == 0
    assert (tmp_path / "m.json.sigstore.json").exists()
    assert run(verify) == 0
    policy = tmp_path / "trust.toml"
    make_key(tmp_path / "my.key")
    policy.write_text('[[source]]\nname = "*"\nkeys = ["my.key.pub"]\n')
    assert run(["provenance", "verify", str(manifest), "--policy", str(policy)]) == 1
    assert run([*verify, "--policy", str(policy)]) == 0
    assert run(["provenance", "sign", str(manifest), "--key", str(tmp_path / "my.key")]) == 0
    capsys.readouterr()
    assert run(verify) == 1
    assert "does not hold" in capsys.readouterr().out
