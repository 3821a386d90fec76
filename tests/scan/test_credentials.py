"""Credentials in text and headers; none is written out here, so that no scanner finds this file."""

from __future__ import annotations

import base64
import json
import random
import string
import struct

import pytest

from crenel.scan import Verdict, scan_bytes

from .mutation import ends_in_a_verdict

LETTERS = string.ascii_letters
ALPHABET = string.ascii_letters + string.digits


def drawn(alphabet: str, count: int, seed: int = 7) -> str:
    generator = random.Random(seed)
    return "".join(generator.choice(alphabet) for _ in range(count))


def key(header: str) -> str:
    body = base64.b64encode(random.Random(3).randbytes(300)).decode()
    lines = [body[i : i + 64] for i in range(0, len(body), 64)]
    dashes = "-" * 5
    return "\n".join([f"{dashes}BEGIN {header}{dashes}", *lines, f"{dashes}END {header}{dashes}"])


# The checksum of this token is the one that GitHub's own description of the format shows.
GITHUB = "ghp" + "_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ" + "0mLq17"
REAL = {
    "AWS access key": "AKIA" + drawn(string.ascii_uppercase + "234567", 16),
    "Google API key": "AIza" + drawn(ALPHABET + "-_", 35),
    "GitHub token": GITHUB,
    "Hugging Face token": "hf_" + drawn(LETTERS, 34),
    "OpenAI key": "sk-proj-" + drawn(ALPHABET, 40) + "T3Blbk" + "FJ" + drawn(ALPHABET, 40, 8),
    "Anthropic key": "sk-ant-api03-" + drawn(ALPHABET + "-_", 95),
    "Slack token": "xoxb-" + "98765432109-98765432108-" + drawn(ALPHABET, 24),
    "GitLab token": "glpat-" + drawn(ALPHABET, 20),
    "private key": key("PRIVATE KEY"),
    "RSA": key("RSA PRIVATE KEY"),
}


@pytest.mark.parametrize("kind", sorted(REAL))
@pytest.mark.parametrize("name", ["notes.txt", "config.json", "config.yaml", "train.py"])
def test_a_credential_is_reported_at_its_place_and_not_shown(kind, name):
    secret = REAL[kind]
    text = json.dumps({"k": secret}) if name.endswith("json") else f'# note\nkey: "{secret}"\n'
    result = scan_bytes(text.encode(), name)
    reasons = [r for r in result.reasons if r.code == "credential"]
    assert len(reasons) == 1, result
    assert reasons[0].verdict is Verdict.REVIEW
    assert text[reasons[0].offset :].startswith(json.dumps(secret)[1:9])
    told = json.dumps([r.to_json() for r in result.reasons])
    assert secret[10:30] not in told
    assert "revoke" in reasons[0].sentence


@pytest.mark.parametrize(
    "text",
    [
        "AKIA" + "IOSFODNN7" + "EXAMPLE",
        "AKIA" + "A" * 16,
        GITHUB[:-1] + "8",  # wrong checksum
        "ghp_" + "x" * 36,
        "hf_" + "x" * 34,
        "hf_your" + drawn(LETTERS, 30),
        "prefix_hf_" + drawn(LETTERS, 34),
        "hf_" + drawn(LETTERS, 40),
        "sk-" + "0" * 48,
        "AIza" + "0123456789" * 3 + "01234",
        "-" * 5 + "BEGIN PRIVATE KEY" + "-" * 5 + "\n...\n" + "-" * 5 + "END PRIVATE KEY" + "-" * 5,
        key("PUBLIC KEY"),
        key("CERTIFICATE"),
    ],
)
def test_examples_and_other_words_are_left_alone(text):
    assert scan_bytes(f"key: {text}\n".encode(), "notes.txt").verdict is Verdict.CLEAN


def test_headers_of_weights_are_searched():
    header = json.dumps({"__metadata__": {"token": GITHUB}}).encode()
    safetensors = struct.pack("<Q", len(header)) + header
    assert "credential" in {r.code for r in scan_bytes(safetensors).reasons}
    field = b"k" + struct.pack("<IQ", 8, len(GITHUB)) + GITHUB.encode()
    gguf = b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + field
    result = scan_bytes(gguf)
    assert {r.code for r in result.reasons} == {"credential"}
    assert gguf[result.reasons[0].offset :].startswith(b"ghp_")


def test_several_are_told_apart():
    text = f"{GITHUB}\n{REAL['Hugging Face token']}\n{REAL['AWS access key']}\n"
    offsets = {r.offset for r in scan_bytes(text.encode(), "x.txt").reasons}
    assert offsets == {0, 41, 79}


def test_changed_texts_end_in_a_verdict():
    ends_in_a_verdict([f"a: {secret}".encode() for secret in REAL.values()], "x.txt")
