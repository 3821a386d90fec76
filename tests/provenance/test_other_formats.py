"""Croissant, DVC and MLflow on the way in, CycloneDX on the way out."""

import hashlib
import json
import random

import pytest

from crenel.cli.entry import run
from crenel.errors import CrenelError, SubjectError
from crenel.provenance.cyclonedx import to_cyclonedx
from crenel.provenance.dvc import read_dvc
from crenel.provenance.envelope import read_envelope
from crenel.provenance.importing import import_file


def croissant(sha256, name="train.csv"):
    return {
        "@context": {"sc": "https://schema.org/", "cr": "http://mlcommons.org/croissant/"},
        "@type": "sc:Dataset",
        "name": "Forty buyers",
        "license": "CC-BY-4.0",
        "url": "https://example.org/buyers",
        "version": "1.0.0",
        "cr:conformsTo": "http://mlcommons.org/croissant/1.0",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": name,
                "contentUrl": "https://example.org/data/16826755/xyz",
                "encodingFormat": "text/csv",
                "sha256": sha256,
            },
            {"@type": "cr:FileSet", "@id": "more", "includes": "*.csv"},
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "field": [
                    {"@type": "cr:Field", "@id": "r/age", "name": "age", "dataType": "sc:Integer"}
                ],
            }
        ],
    }


def dvc(md5, extra="  hash: md5\n"):
    return f"outs:\n- md5: {md5}\n  size: 1234\n{extra}  path: train.csv\n"


MLFLOW = {
    "name": "train",
    "digest": "b5f2c1d3",
    "source": '{"uri": "/data/train.csv"}',
    "source_type": "local",
    "schema": '{"mlflow_colspec": []}',
    "profile": '{"num_rows": 40}',
}


@pytest.fixture
def here(files, monkeypatch):
    monkeypatch.chdir(files)
    return files


def digests(path):
    content = path.read_bytes()
    return hashlib.sha256(content).hexdigest(), hashlib.md5(content).hexdigest()


def test_what_croissant_says_goes_into_the_manifest(here, capsys):
    (here / "croissant.json").write_text(json.dumps(croissant(digests(here / "train.csv")[0])))
    arguments = ["record", "train.csv", "--source", "acme", "--import", "croissant.json"]
    assert run(["provenance", *arguments, "-o", "m.json"]) == 0
    assert "agrees on train.csv (sha256)" in capsys.readouterr().out
    predicate = read_envelope(here / "m.json")[1].predicate
    assert predicate.sources[0].licence == "CC-BY-4.0"
    assert predicate.sources[0].uri == "https://example.org/buyers"
    (imported,) = predicate.imported
    assert imported.fields["name"] == "Forty buyers"
    assert imported.fields["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert imported.fields["fields"] == ["age"]
    assert imported.sha256 == digests(here / "croissant.json")[0]
    assert not imported.unproven
    assert run(["provenance", *arguments, "--licence", "MIT", "-o", "m.json", "--force"]) == 0
    assert read_envelope(here / "m.json")[1].predicate.sources[0].licence == "MIT"


@pytest.mark.parametrize("name", ["croissant.json", "train.csv.dvc"])
def test_a_file_that_is_not_the_one_described_is_not_recorded(here, capsys, name):
    text = json.dumps(croissant("0" * 64)) if name.endswith("json") else dvc("0" * 32)
    (here / name).write_text(text)
    assert run(["provenance", "record", "train.csv", "--import", name, "-o", "m.json"]) == 2
    err = capsys.readouterr().err
    assert "train.csv is not the file that" in err
    assert err.count("\n") == 1
    assert not (here / "m.json").exists()


def test_dvc_files_of_both_ages_are_read(here):
    path = here / "train.csv"
    (here / "a.dvc").write_text(dvc(digests(path)[1]))
    imported = import_file(here / "a.dvc", [path])
    assert imported.agrees == ("train.csv (md5)",)
    assert "MD5 is no evidence" in imported.unproven[0]
    unix = hashlib.md5(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    (here / "a.dvc").write_text(dvc(unix, extra=""))
    assert import_file(here / "a.dvc", [path]).agrees == ("train.csv (md5-dos2unix)",)
    (here / "a.dvc").write_text(dvc(unix))
    with pytest.raises(SubjectError, match="its md5 is another"):
        import_file(here / "a.dvc", [path])


def test_the_yaml_that_dvc_writes_is_read_and_no_other():
    text = """\
# by hand
md5: 301598c8348f8ac0c95abc6fc19da952
frozen: true
deps:
- path: data/file.csv
  repo:
    url: 'https://example.org/it''s.git'
    rev_lock: 668d6d6
outs:
  - md5: a304afb96060aad90176268345e10355.dir
    path: "my file.csv"   # spaces
    cache: true
  - path: b
meta:
  who: me
  tags:
  - x
  - y
desc:
"""
    read = read_dvc(text, "a.dvc")
    assert read["deps"] == [
        {
            "path": "data/file.csv",
            "repo": {"url": "https://example.org/it's.git", "rev_lock": "668d6d6"},
        }
    ]
    assert [o["path"] for o in read["outs"]] == ["my file.csv", "b"]
    assert read["meta"] == {"who": "me", "tags": ["x", "y"]}
    assert read["desc"] == ""
    yaml = pytest.importorskip("yaml")
    for ours, theirs in zip(read["outs"], yaml.safe_load(text)["outs"]):
        assert {k: v for k, v in ours.items() if k != "cache"} == {
            k: v for k, v in theirs.items() if k != "cache"
        }


@pytest.mark.parametrize(
    "text",
    [
        "", "- a\n- b\n", "a: {b: c}\n", "a: [1]\n", "a: &x b\n", "a: |\n  text\n",
        "a: b\n  c: d\n",
        "\ta: b\n", "outs:\n- - a\n", "just words\n", "a: b\n- c\n",
    ],
)  # fmt: skip
def test_other_yaml_is_told_in_one_sentence(here, text):
    (here / "a.dvc").write_text(text)
    with pytest.raises(SubjectError, match=r"a.dvc.* (form that DVC writes|is no .dvc file)"):
        import_file(here / "a.dvc", [])


@pytest.mark.parametrize(
    "content",
    [
        MLFLOW,
        [MLFLOW],
        {"inputs": {"dataset_inputs": [{"tags": [], "dataset": MLFLOW}]}},
        {"run": {"inputs": {"datasetInputs": [{"dataset": MLFLOW}]}}},
    ],
)
def test_mlflows_data_sets_are_taken_over_with_a_warning(here, content):
    (here / "run.json").write_text(json.dumps(content))
    imported = import_file(here / "run.json", [here / "train.csv"])
    assert imported.format == "mlflow"
    assert imported.fields["datasets"] == [MLFLOW]
    assert imported.agrees == ()
    assert "covers a part of the rows and is no evidence" in imported.unproven[0]


@pytest.mark.parametrize(
    "text", ["", "nonsense", "[]", "{}", '{"@type": "Dataset"}', "[" * 90_000, '{"name": 1}']
)
def test_other_json_is_told_in_one_sentence(here, text):
    (here / "a.json").write_text(text)
    with pytest.raises(SubjectError, match="of no format that is read here"):
        import_file(here / "a.json", [])


def damaged(value, random):
    """The same JSON with some values replaced and some keys misspelt."""
    if random.random() < 0.15:
        return random.choice([None, 0, -1, "", [], {}, True, "x" * 50, [[]], {"a": 1}])
    if isinstance(value, dict):
        return {
            k if random.random() > 0.05 else f"{k}x": damaged(v, random) for k, v in value.items()
        }
    return [damaged(v, random) for v in value] if isinstance(value, list) else value


def test_damaged_descriptions_are_told_in_one_sentence_or_read(here):
    chance = random.Random(0)
    text = dvc("0" * 32)
    for _ in range(400):
        for base in (croissant("0" * 64), MLFLOW):
            (here / "a.json").write_text(json.dumps(damaged(base, chance)))
            read_or_told(here / "a.json")
        at = chance.randrange(len(text))
        (here / "a.dvc").write_text(text[:at] + chance.choice("-: \n'\"{}[]#\t") + text[at + 1 :])
        read_or_told(here / "a.dvc")


def read_or_told(path):
    try:
        import_file(path, [path.parent / "train.csv"])
    except CrenelError as error:
        assert "\n" not in str(error)  # noqa: PT017  either is right


@pytest.fixture
def bom(here):
    (here / "pictures").mkdir()
    (here / "pictures" / "1.png").write_bytes(b"x")
    run(["provenance", "keygen", "my.key"])
    arguments = ["record", "train.csv", "pictures", "--source", "acme", "--source", "beta"]
    arguments += [
        "--licence",
        "CC-BY-4.0",
        "--uri",
        "https://example.org",
        "--transform",
        "python x",
    ]
    run(["provenance", *arguments, "--key", "my.key", "-o", "m.json"])
    envelope, manifest = read_envelope(here / "m.json")
    return to_cyclonedx(manifest, envelope)


def test_the_bill_of_materials_names_every_file(bom, here, capsys):
    table, folder = bom["components"]
    assert (table["type"], table["name"]) == ("data", "train.csv")
    assert table["hashes"] == [{"alg": "SHA-256", "content": digests(here / "train.csv")[0]}]
    assert table["licenses"] == [{"license": {"id": "CC-BY-4.0"}}]
    properties = {p["name"]: p["value"] for p in table["properties"]}
    assert properties["crenel:rows"] == "40"
    assert properties["crenel:column:age"] == "int"
    assert "hashes" not in folder
    owners = folder["data"][0]["governance"]["owners"]
    assert [o["organization"]["name"] for o in owners] == ["acme", "beta"]
    capsys.readouterr()
    assert run(["provenance", "bom", "m.json"]) == 0
    assert json.loads(capsys.readouterr().out) == bom
    assert run(["provenance", "bom", "m.json", "-o", "bom.json"]) == 0
    assert json.loads((here / "bom.json").read_text()) == bom
    assert run(["provenance", "bom", "m.json", "-o", "no/bom.json"]) == 64


def test_the_bill_of_materials_keeps_to_the_schema_of_cyclonedx(bom):
    from tests.cyclonedx_schema import validator

    schema = validator()
    assert [e.message for e in schema.iter_errors(bom)] == []
    broken = {**bom, "components": [{**bom["components"][0], "type": "dataset"}]}
    assert list(schema.iter_errors(broken))
