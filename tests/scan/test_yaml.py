"""YAML: what a loader would build; the samples were checked against PyYAML 6's unsafe loader."""

from __future__ import annotations

import pytest

from crenel.scan import Verdict, scan_bytes

from .mutation import ends_in_a_verdict

RUNS = "object/apply:os.getcwd"
HARMFUL = [
    f"!!python/{RUNS} []",
    f"\ufeff!!python/{RUNS} []",
    f"%TAG !x! tag:yaml.org,2002:python/\n---\na: !x!{RUNS} []",
    f"%TAG ! tag:yaml.org,2002:py\n---\na: !thon/{RUNS} []",
    f"a: !<tag:yaml.org,2002:python/{RUNS}> []",
    f"a: !!python%2F{RUNS} []",
    f"a: [!!python/{RUNS} []]",
    f"[a,!!python/{RUNS} []]",
    f"{{a: 1,!!python/{RUNS} []: 2}}",
    f"a: {{? !!python/{RUNS} [] : 1}}",
    f"a: &x !!python/{RUNS} []",
    f"a: \"it's\"\nb: 'x'\nc: !!python/{RUNS} []",
    f"- !!python/{RUNS}\n  - []",
    "a: !!python/object/new:os.system [true]",
]


@pytest.mark.parametrize("text", HARMFUL)
def test_a_call_is_malicious_however_its_tag_is_written(text):
    result = scan_bytes(text.encode(), "config.yaml")
    assert result.verdict is Verdict.MALICIOUS, result
    assert "yaml" in result.format or result.format == "unknown"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: [x, !custom y]\n", "clean"),
        ("a: !!python/tuple [1, 2]\n", "clean"),
        ("a: !!python/name:mypackage.f ''\n", "dangerous"),
        ("a: !!python/object:mypackage.Net {}\n", "dangerous"),
        ("a: 1  # never use !!python/object/apply here\n", "review"),
        ("'a\"b': !!python/object/apply:os.getcwd []\n", "review"),
        ("a: !include:../../etc/passwd\n", "dangerous"),
        ("model: !new:torch.nn.Linear\n", "clean"),
        ("model: !new:os.system\n", "malicious"),
        ("model: !name:subprocess.run\n", "malicious"),
        ("net:\n  _target_: torch.nn.Linear\n  in_features: 3\n", "clean"),
        ("net:\n  _target_: os.system\n", "malicious"),
        ("net: {_target_: 'builtins.eval'}\n", "malicious"),
        ('net:\n  "_tar\\x67et_": os.system\n', "malicious"),
        ("net:\n  _target_: mypackage.Net\n", "review"),
        ("net:\n  _target_: ${other}\n", "review"),
        ("trust_remote_code: true\n", "review"),
        ("trust_remote_code: false\n", "clean"),
    ],
)
def test_what_a_configuration_makes_of_its_loader(text, expected):
    result = scan_bytes(text.encode(), "config.yaml")
    assert (result.format, result.verdict) == ("yaml", expected), result


def test_the_place_is_counted_in_bytes():
    text = "ä: ü\nb: !!python/object/apply:os.getcwd []\n".encode()
    reason = scan_bytes(text, "x.yml").reasons[0]
    assert text[reason.offset :].startswith(b"!!python")


def test_yaml_is_known_by_its_content_and_prose_is_left_alone():
    assert scan_bytes(HARMFUL[0].encode(), "notes.txt").verdict is Verdict.MALICIOUS
    card = b"# Model\n\nNever load `!!python/object/apply:os.system` from a stranger.\n"
    assert scan_bytes(card, "README.md").verdict is Verdict.CLEAN


def test_a_template_within_yaml_does_not_hide_the_rest():
    template = 'chat: "{% for m in messages %}{{ m.content }}{% endfor %}"\n'
    broken = 'chat: "{% for m in messages %}"\n'
    for text in (template, broken):
        assert scan_bytes(text.encode(), "x.yaml").verdict is Verdict.CLEAN
        assert scan_bytes((text + "x: " + HARMFUL[0]).encode(), "x.yaml").verdict == "malicious"


def test_aliases_of_aliases_are_dangerous():
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    assert scan_bytes("\n".join(lines).encode(), "x.yaml").verdict is Verdict.DANGEROUS
    plain = "base: &base {x: 1}\n" + "\n".join(f"k{i}: *base" for i in range(50))
    assert scan_bytes(plain.encode(), "x.yaml").verdict is Verdict.CLEAN


@pytest.mark.parametrize("text", [b"\n" * 4000 + b"x", b"!" * 100_000, b"a: &a " + b"*a " * 50_000])
def test_odd_texts_take_no_time(text):
    assert isinstance(scan_bytes(b"%TAG" + text).verdict, Verdict)
    assert isinstance(scan_bytes(text, "x.yaml").verdict, Verdict)


def test_changed_texts_end_in_a_verdict():
    ends_in_a_verdict([text.encode() for text in HARMFUL], "config.yaml", examples=150)
