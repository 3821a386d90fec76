"""Credentials left in text and in the headers of model files: reported redacted, never shown.

Each kind has a shape that its issuer documents; what else a real one must have (a checksum, a
random look, a key that decodes) is tested too, so that examples and prose are left alone.
"""

from __future__ import annotations

import base64
import math
import re
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from crenel.scan.context import Context
from crenel.scan.source import Window
from crenel.scan.verdict import Verdict

LIMIT = 64 << 20
MAX_FOUND = 20
MAX_TRIES = 10_000
REACH = 8192
BASE62 = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
EXAMPLES = re.compile(
    rb"example|sample|dummy|placeholder|redacted|your|test|fake|secret|token|xxxx|0000|1234|abcd|"
    rb"\*\*\*|\.\.\.", re.IGNORECASE
)  # fmt: skip


@dataclass(frozen=True)
class _Kind:
    """One kind of credential: what it begins with, its shape, and a test of the match."""

    name: str
    prefix: bytes
    shape: re.Pattern[bytes]
    real: Callable[[bytes], bool]


def _random(bits: float) -> Callable[[bytes], bool]:
    """Return a test for text that looks random: enough bits per character, and no example."""

    def test(secret: bytes) -> bool:
        return not EXAMPLES.search(secret) and entropy(secret) >= bits

    return test


def entropy(text: bytes) -> float:
    """Return Shannon's entropy of the characters of a text, in bits per character."""
    counts = Counter(text).values()
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts) if text else 0.0


def _checksum(secret: bytes) -> bool:
    """Tell whether the last six characters are the CRC-32 of the thirty before, in base 62."""
    value = zlib.crc32(secret[-36:-6])
    digits = b""
    for _ in range(6):
        value, digit = divmod(value, 62)
        digits = BASE62[digit : digit + 1] + digits
    return digits == secret[-6:]


def _key(secret: bytes) -> bool:
    """Tell whether what follows a PEM header decodes to as much as the smallest key has."""
    body = secret.replace(b"\\n", b"\n").replace(b"\\r", b"")
    body = b"".join(line for line in body.split(b"\n")[1:] if b":" not in line)
    body = re.sub(rb"[^A-Za-z0-9+/]", b"", body)[:64]
    try:
        raw = base64.b64decode(body[: len(body) // 4 * 4])
    except ValueError:
        return False
    return len(raw) >= 40 and len(set(raw)) > 15


def _kind(name: str, prefix: bytes, shape: bytes, real: Callable[[bytes], bool]) -> _Kind:
    return _Kind(name, prefix, re.compile(rb"(?<![A-Za-z0-9_])" + shape), real)


PEM = rb"(-----BEGIN (?:RSA |EC |DSA |OPENSSH )?PRIVATE KEY-----[\sA-Za-z0-9+/=\\:,.-]{64,})"
END = rb"(?![A-Za-z0-9_])"
KINDS = (
    _kind("an AWS access key", b"AKIA", rb"AKIA([A-Z2-7]{16})" + END, _random(3.0)),
    _kind("an AWS session key", b"ASIA", rb"ASIA([A-Z2-7]{16})" + END, _random(3.0)),
    _kind("a Google API key", b"AIza", rb"AIza([\w-]{35})(?![\w-])", _random(4.0)),
    *(
        _kind("a GitHub token", start, start + rb"([A-Za-z0-9]{36})" + END, _checksum)
        for start in (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_")
    ),
    _kind("a GitHub token", b"github_pat_", rb"github_pat_(\w{22}_\w{59})" + END, _random(4.5)),
    _kind("an npm token", b"npm_", rb"npm_([A-Za-z0-9]{36})" + END, _checksum),
    _kind("a Hugging Face token", b"hf_", rb"hf_([A-Za-z]{34})" + END, _random(4.0)),
    _kind("an OpenAI key", b"sk-", rb"sk-([\w-]{20,90}T3BlbkFJ[\w-]{20,80})", _random(4.3)),
    _kind("an Anthropic key", b"sk-ant-", rb"sk-ant-\w{3,8}-([\w-]{80,120})", _random(4.5)),
    _kind("a Slack token", b"xox", rb"xox[abeprs]-(\d{9,13}-[A-Za-z0-9-]{20,})", _random(3.5)),
    _kind("a Slack webhook", b"hooks.slack.com/services/T",
          rb"hooks\.slack\.com/services/(T\w{8,12}/B\w{8,12}/\w{24})" + END, _random(4.0)),
    _kind("a Stripe key", b"_live_", rb"[rs]k_live_([A-Za-z0-9]{24,})" + END, _random(4.0)),
    _kind("a GitLab token", b"glpat-", rb"glpat-([\w-]{20,})(?![\w-])", _random(3.6)),
    _kind("a PyPI token", b"pypi-AgE", rb"pypi-(AgE[\w-]{60,})", _random(4.5)),
    _kind("an Azure key", b"AccountKey=", rb"AccountKey=([A-Za-z0-9+/]{86}==)", _random(4.8)),
    _kind("a private key", b"-----BEGIN ", PEM, _key),
)  # fmt: skip


def judge_credentials(window: Window, context: Context) -> None:
    """Report the credentials in the first 64 MiB of some bytes, for review.

    Parameters
    ----------
    window : Window
        Text, or a header that is text in the main.
    context : Context
        Receives one reason for each, with its place and its kind but not its value.
    """
    part = window.window(0, LIMIT)
    found: set[int] = set()
    for kind in KINDS:
        pos, tries = part.find(kind.prefix), MAX_TRIES
        while pos >= 0 and len(found) < MAX_FOUND and tries:
            tries -= 1
            start = max(pos - 16, 0)
            text = part.read(start, REACH if kind.real is _key else 256)
            match = kind.shape.search(text)
            if match is not None and kind.real(match[1]) and start + match.start() not in found:
                found.add(start + match.start())
                _report(kind.name, start + match.start(), len(match[0]), context)
            pos = part.find(kind.prefix, pos + len(kind.prefix))


def _report(name: str, offset: int, length: int, context: Context) -> None:
    sentence = f"The file holds what looks like {name} ({length} characters, not shown): revoke it,"
    sentence += " then take it out of the file."
    context.add("credential", sentence, Verdict.REVIEW, offset, f"{name} at byte {offset}")
