"""Lists of published models: read, looked up, and what is told of broken ones."""

from __future__ import annotations

import hashlib
import json
import subprocess

import pytest

from crenel.check import Context
from crenel.cli.entry import run
from crenel.data.sections import load_base
from crenel.errors import UsageError
from crenel.finding import Severity
from crenel.provenance.published import look_up, read_published, verify_published
from crenel.subject import Base, Subject
from crenel.target import Target
from crenel.transfer.checks import documentation

WEIGHTS, CONFIG, OTHER = b"weights", b"{}", b"other weights"


def sha(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "config.json").write_bytes(CONFIG)
    return folder


@pytest.fixture
def listed(tmp_path):
    def write(entries, name="models.json"):
        path = tmp_path / name
        path.write_text(entries if isinstance(entries, str) else json.dumps(entries))
        return path

    return write


def entry(origin, weights=WEIGHTS, **more):
    files = {"model.safetensors": sha(weights), "config.json": sha(CONFIG)}
    return {"name": origin, "origin": f"hub:{origin}", "sha256": files} | more


def test_a_match_says_which_model_the_file_is(model, listed):
    known = read_published(listed([entry("acme/net"), entry("acme/other", OTHER)]))
    (test,) = verify_published(model, known)
    assert test.passed
    assert test.sentence == "config.json, model.safetensors are published as acme/net"


@pytest.mark.parametrize("origin", ["acme/net", "https://huggingface.co/Acme/net", "net"])
def test_other_digests_than_those_listed_for_the_origin_are_a_contradiction(model, listed, origin):
    (model / "model.safetensors").write_bytes(b"changed")
    known = read_published(listed([entry("acme/net")]))
    found = look_up(digests(model), known, origin)
    (wrong,) = found.contradictions
    assert wrong.startswith("model.safetensors is not the file of acme/net")
    assert sha(b"changed")[:16] in wrong
    assert set(found.matches) == {"config.json"}


def digests(folder):
    return {path.name: sha(path.read_bytes()) for path in folder.iterdir()}


def test_the_file_of_another_model_is_a_contradiction_and_is_named(model, listed):
    known = read_published(listed([entry("acme/net", OTHER), entry("else/net")]))
    (wrong,) = look_up(digests(model), known, "acme/net").contradictions
    assert "which is that of else/net" in wrong
    assert not look_up(digests(model), known, "else/net").contradictions


def test_another_revision_is_not_held_against_a_model(model, listed):
    old, new = "0" * 40, "1" * 40
    known = read_published(listed([entry(f"acme/net@{old}", OTHER)]))
    assert look_up(digests(model), known, f"acme/net@{old}").contradictions
    assert look_up(digests(model), known, "acme/net@main").contradictions
    found = look_up(digests(model), known, f"acme/net@{new}")
    assert not found.contradictions
    assert found.unlisted == ("model.safetensors",)


def test_what_the_list_does_not_have_is_not_tested(model, listed):
    (test,) = verify_published(model, read_published(listed([entry("acme/else", OTHER)])), "a/b")[
        1:
    ]
    assert test.passed is None
    assert "model.safetensors" in test.sentence


def test_lines_of_sha256sum_are_read(model, listed, tmp_path):
    told = subprocess.run(
        ["sha256sum", "net/model.safetensors", "net/config.json"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    known = read_published(listed(f"# a comment\n{told}", "SHA256SUMS"))
    assert all(t.passed for t in verify_published(model, known, "acme/net"))
    (model / "model.safetensors").write_bytes(b"changed")
    assert look_up(digests(model), known, "acme/net").contradictions
    bare = read_published(listed(f"{sha(WEIGHTS)} *model.safetensors\n", "SUMS"))
    (wrong,) = look_up(digests(model), bare, "acme/net").contradictions
    assert wrong.startswith("model.safetensors is not the file on the list")


def test_one_digest_without_a_name_is_of_the_model(tmp_path, listed):
    file = tmp_path / "w.bin"
    file.write_bytes(WEIGHTS)
    known = read_published(
        listed({"models": [{"origin": "a/b", "sha256": f"sha256:{sha(WEIGHTS)}"}]})
    )
    assert all(t.passed for t in verify_published(file, known, "a/b"))
    file.write_bytes(OTHER)
    assert [t.passed for t in verify_published(file, known, "a/b")] == [False]
    assert [t.passed for t in verify_published(file, known, "c/d")] == [None]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names no model"), ("[]", "names no model"), ("{", "broken JSON in line 1"),
        ('{"a": 1}', "is to be a list"), ("[1]", "entry 1 is no table"),
        ('[{"sha256": "00"}]', "entry 1 has neither"),
        ('[{"name": "a"}]', "not 64 hexadecimal"), ('[{"name": "a", "sha256": {}}]', "no digests"),
        ('[{"name": "a", "sha256": {"b": "xyz"}}]', "the sha256 of b is not 64"),
        ("abc  file\n", "line 1 is not DIGEST  NAME"), (f"{'0' * 64}\n", "line 1"),
        ("[" * 100_000, "broken JSON"),
    ],
)  # fmt: skip
def test_a_broken_list_is_told_in_one_sentence(listed, text, says):
    with pytest.raises(UsageError, match=says) as error:
        read_published(listed(text))
    assert "\n" not in str(error.value)


def test_a_list_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_published(tmp_path / "missing.json")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="no text in UTF-8"):
        read_published(tmp_path / "binary")


def test_the_command(model, listed, capsys):
    path = str(listed([entry("acme/net")]))
    assert run(["provenance", "verify-model", str(model), "--known", path]) == 0
    assert "published as acme/net" in capsys.readouterr().out
    (model / "model.safetensors").write_bytes(b"changed")
    arguments = ["provenance", "verify-model", str(model), "--known", path]
    assert run([*arguments, "--origin", "acme/net", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["verdict"] == "fail"
    assert run(arguments) == 1  # its configuration is that of acme/net
    assert run([*arguments, "--origin", "c/d"]) == 2
    assert run([*arguments, "--ignore", str(model / "model.safetensors")]) == 0
    capsys.readouterr()
    for wrong in ([], ["--known", path, "--key", "k.pub"], ["--origin", "a/b"]):
        assert run(["provenance", "verify-model", str(model), *wrong]) == 64


def items(base):
    found = documentation.measure(Subject("t", base=base), Context(check="TRA-103"))
    return {f.evidence.values["item"]: f for f in found.findings}, found.notes


def test_an_audit_looks_the_base_up(model, listed):
    path = listed([entry("acme/net")])
    settings = {"files": [str(p) for p in model.iterdir()], "known": str(path)}
    base = load_base(Target(base=settings), path.parent, True, [])
    found, notes = items(base)
    assert not {"origin", "digest", "known digests"} & set(found)
    assert "known digests" in notes[0]
    (model / "model.safetensors").write_bytes(b"changed")
    found, _ = items(
        load_base(Target(base=settings | {"origin": "acme/net"}), path.parent, True, [])
    )
    assert found["known digests"].severity is Severity.HIGH
    found, _ = items(load_base(Target(base=settings | {"origin": "c/d"}), path.parent, True, []))
    assert found["known digests"].severity is Severity.LOW
    found, _ = items(
        load_base(Target(base=settings | {"origin": "acmee/x"}), path.parent, True, [])
    )
    assert "acme" not in found  # a name of four letters has honest neighbours


def test_the_models_own_file_is_noted(model, listed):
    known = read_published(listed([entry("acme/net")]))
    subject = Subject("t", files=(model / "model.safetensors",), base=Base(known=known))
    notes = documentation.measure(subject, Context(check="TRA-103")).notes
    assert any("model.safetensors of the model is published as acme/net" in note for note in notes)


def test_a_broken_list_stops_an_audit_before_it_begins(listed):
    target = Target(base={"origin": "a/b", "known": str(listed("{"))})
    with pytest.raises(UsageError, match="broken JSON"):
        load_base(target, listed("{").parent, True, [])
