"""The command itself, as a person and a pipeline meet it."""

import json
import os
import subprocess
import sys

import pytest

from crenel.cli.entry import run

POLICY = """
[[source]]
name = "acme"
keys = ["my.key.pub"]
share = {share}
licences = ["CC-BY-4.0"]
[[source]]
name = "{other}"
keys = ["my.key.pub"]
"""


def crenel(folder, *arguments):
    """Exit code, standard output, standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "crenel", "provenance", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    return done.returncode, done.stdout, done.stderr


def in_process(capsys, *arguments):
    code = run(["provenance", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def recorded(files, table, capsys, monkeypatch):
    """A folder with train.csv, recorded and signed as old.json."""
    monkeypatch.chdir(files)
    assert in_process(capsys, "keygen", "my.key")[0] == 0
    code, _, err = in_process(capsys, *RECORD, "-o", "old.json", "--key", "my.key")
    assert (code, err) == (0, "")
    return files


RECORD = [
    "record", "train.csv", "--label", "bought", "--source-column", "vendor", "--record-id", "id",
    "--licence", "CC-BY-4.0",
]  # fmt: skip


def test_from_a_key_to_a_difference_through_the_real_command(files, table):
    assert crenel(files, "keygen", "my.key")[0] == 0
    code, out, err = crenel(files, *RECORD, "-o", "old.json", "--key", "my.key")
    assert (code, err) == (0, "")
    assert "train.csv: 40 rows" in out
    assert crenel(files, "verify", "old.json", "--key", "my.key.pub")[0] == 0
    table.loc[4, "bought"] = "no" if table.loc[4, "bought"] == "yes" else "yes"
    table.loc[9, "town"] = "C"
    table.to_csv(files / "train.csv", index=False)
    code, out, _ = crenel(files, "verify", "old.json", "--key", "my.key.pub")
    assert code == 1
    assert "2 of 40 rows of train.csv are not those recorded: 4, 9" in out
    crenel(files, *RECORD, "-o", "new.json", "--key", "my.key", "--parent", "old.json")
    code, out, _ = crenel(files, "diff", "old.json", "new.json", "--json")
    (change,) = json.loads(out)
    assert code == 0
    assert change["relabelled"] == {"old": [4], "new": [4]}
    assert change["edited"] == {"old": [9], "new": [9]}
    assert set(change["sources"]) == {table.loc[4, "vendor"], table.loc[9, "vendor"]}


def test_a_configuration_says_which_files_and_columns(recorded, table, capsys):
    table.drop(columns="vendor").to_csv("test.csv", index=False)
    (recorded / "crenel.toml").write_text(
        '[target.t]\nmodel = "m.joblib"\ntrain = "train.csv"\ntest = "test.csv"\n'
        'label = "bought"\nsource = "vendor"\nrecord_id = "id"\n'
    )
    assert in_process(capsys, "record", "crenel.toml", "-o", "new.json")[0] == 0
    train, test = json.loads(in_process(capsys, "show", "new.json")[1])["predicate"]["tables"]
    assert (train["name"], train["label"], train["source"], train["key"]) == (
        "train.csv", "bought", "vendor", ["id"],
    )  # fmt: skip
    assert (test["name"], test["label"], test["source"]) == ("test.csv", "bought", None)
    (recorded / "crenel.toml").write_text('[target.t]\nmodel = "m.joblib"\n')
    code, _, err = in_process(capsys, "record", "crenel.toml", "-o", "new.json", "--force")
    assert code == 64
    assert "names no data" in err


def test_types_of_text_are_those_of_the_parent_where_they_fit(recorded, table, capsys):
    whole = table.assign(pay=table["pay"].round().astype(int))
    whole.to_csv("train.csv", index=False)

    def types(*more):
        in_process(capsys, *RECORD, "-o", "new.json", "--force", *more)
        shown = json.loads(in_process(capsys, "show", "new.json")[1])
        return {c["name"]: c["type"] for c in shown["predicate"]["tables"][0]["columns"]}

    assert types()["pay"] == "int"
    assert types("--parent", "old.json")["pay"] == "float"
    assert types("--parent", "old.json", "--type", "pay=text")["pay"] == "text"
    assert in_process(capsys, "diff", "old.json", "new.json")[0] == 2
    whole.assign(age="old").to_csv("train.csv", index=False)
    assert types("--parent", "old.json")["age"] == "text"


def test_edited_fields_are_shown_on_request_only(recorded, table, capsys):
    table.assign(pay=table["pay"].where(table["id"] != 9, 1.5)).to_csv("new.csv", index=False)
    arguments = ["diff", "old.json", "new.csv"]
    assert "pay" not in in_process(capsys, *arguments)[1]
    out = in_process(capsys, *arguments, "--fields", "3")[1]
    assert "fields: 1 pay" in out
    assert f"row 9: pay {table.loc[9, 'pay']} → 1.5" in out
    (change,) = json.loads(in_process(capsys, *arguments, "--fields", "3", "--json")[1])
    assert change["columns"] == {"pay": 1}
    assert change["fields"][0]["fields"]["pay"][1] == "1.5"


def test_the_statement_says_what_was_said(recorded, capsys):
    (recorded / "make.py").write_text("print()")
    said = ["--transform", "make.py", "--collected", "2026-01", "--uri", "https://example.org/d"]
    plain = [*RECORD[:2], "--source", "acme", "--licence", "MIT", "--parent", "old.json", *said]
    assert in_process(capsys, *plain, "-o", "new.json")[0] == 0
    shown = json.loads(in_process(capsys, "show", "new.json")[1])["predicate"]
    assert shown["sources"] == [
        {
            "name": "acme", "rows": 40, "licence": "MIT", "collected": "2026-01",
            "uri": "https://example.org/d",
        }
    ]  # fmt: skip
    assert shown["transform"]["file"] == "make.py"
    assert len(shown["transform"]["sha256"]) == 64
    assert shown["parents"][0]["name"] == "old.json"


@pytest.mark.parametrize(
    ("share", "other", "code", "sentence"),
    [
        (0.9, "be*", 0, "'acme' is trusted"),
        (0.1, "be*", 1, "the policy allows 10.0%"),
        (0.9, "other", 1, "'beta' is not in the trust policy"),
    ],
)
def test_a_trust_policy_judges_each_source(recorded, capsys, share, other, code, sentence):
    (recorded / "trust.toml").write_text(POLICY.format(share=share, other=other))
    found, out, _ = in_process(capsys, "verify", "old.json", "--policy", "trust.toml")
    assert found == code
    assert sentence in out
    as_json = json.loads(
        in_process(capsys, "verify", "old.json", "--policy", "trust.toml", "--json")[1]
    )
    assert as_json["verdict"] == ("fail" if code else "pass")


def test_a_source_signed_for_by_another_vendors_key_fails(recorded, capsys):
    in_process(capsys, "keygen", "beta.key")
    text = POLICY.format(share=0.9, other="beta").rpartition("my.key.pub")
    (recorded / "trust.toml").write_text(f"{text[0]}beta.key.pub{text[2]}")
    code, out, _ = in_process(capsys, "verify", "old.json", "--policy", "trust.toml")
    assert code == 1
    assert "'beta' is not signed for by a key that the policy names for it" in out
    assert in_process(capsys, "sign", "old.json", "--key", "beta.key")[0] == 0
    assert in_process(capsys, "verify", "old.json", "--policy", "trust.toml")[0] == 0


def test_a_key_trusted_for_all_does_not_lift_the_caps(recorded, capsys):
    (recorded / "trust.toml").write_text(POLICY.format(share=0.1, other="beta"))
    arguments = ["verify", "old.json", "--policy", "trust.toml", "--key", "my.key.pub"]
    code, out, _ = in_process(capsys, *arguments)
    assert code == 1
    assert "the policy allows 10.0%" in out
    text = POLICY.format(share=0.9, other="beta").replace("my.key.pub", "other.key.pub")
    in_process(capsys, "keygen", "other.key")
    (recorded / "trust.toml").write_text(text)
    assert in_process(capsys, *arguments[:-2])[0] == 1
    assert in_process(capsys, *arguments)[0] == 0


def test_a_licence_that_is_not_accepted_fails(recorded, capsys):
    text = POLICY.format(share=0.9, other="beta").replace("CC-BY-4.0", "MIT")
    (recorded / "trust.toml").write_text(text)
    code, out, _ = in_process(capsys, "verify", "old.json", "--policy", "trust.toml")
    assert code == 1
    assert "licence 'CC-BY-4.0', which is not accepted" in out


def test_images_that_move_to_another_class_are_relabelled(recorded, capsys):
    images = recorded / "images"
    for name in ("cat/1.png", "cat/2.png", "dog/3.png"):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).write_bytes(name.encode())
    in_process(capsys, "record", "images", "-o", "a.json")
    (images / "dog/3.png").write_bytes(b"another")
    (images / "cat/4.png").write_bytes(b"new")
    (images / "cat/1.png").rename(images / "dog/1.png")
    (images / "cat/2.png").rename(images / "cat/5.png")
    in_process(capsys, "record", "images", "-o", "b.json")
    (change,) = json.loads(in_process(capsys, "diff", "a.json", "b.json", "--json")[1])
    assert change["counts"] == {
        "added": 1, "removed": 0, "relabelled": 1, "edited": 1, "reattributed": 0, "renamed": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["record", "nothing.csv"], 64, "there is no file nothing.csv"),
        (["record", "train.csv", "train.csv"], 64, "named twice"),
        (["record", "train.csv", "--label", "buoght"], 64, "no table has the column 'buoght'"),
        (["record", "train.csv", "--key", "nothing.key"], 64, "cannot be read"),
        (["record", "train.csv", "--key", "train.csv"], 64, "holds no private key"),
        (["record", "train.csv", "--type", "age"], 64, "write --type"),
        (["record", "train.csv", "--type", "town=int"], 2, "'town' is declared as int"),
        (
            ["record", "train.csv", "--source", "a", "--source", "b"],
            64,
            "2 sources are named for 1",
        ),
        (
            ["record", "train.csv", "--source", "a", "--source-column", "vendor"],
            64,
            "leave out --source",
        ),
        (["record", "train.csv", "-o", "no/where.json"], 64, "cannot be written"),
        (["record", "train.csv", "-o", "old.json"], 64, "overwrite it with --force"),
        (["verify", "nothing.json", "--key", "my.key.pub"], 64, "cannot be read"),
        (["verify", "train.csv", "--key", "my.key.pub"], 2, "no signed manifest"),
        (["verify", "old.json"], 64, "--key"),
        (["verify", "old.json", "--key", "my.key"], 64, "trust its public one: my.key.pub"),
        (["verify", "old.json", "--policy", "nothing.toml"], 64, "cannot be read"),
        (["verify", "old.json", "--policy", "train.csv"], 64, "is not TOML"),
        (["diff", "old.json", "nothing.json"], 64, "there is no file"),
        (["keygen", "my.key"], 64, "never overwritten"),
        (["show", "my.key"], 2, "no signed manifest"),
        (["sign", "old.json", "--key", "my.key.pub"], 64, "holds no private key"),
    ],
)
def test_what_a_user_gets_wrong_is_told_in_one_sentence(
    recorded, capsys, arguments, code, sentence
):
    found, _, err = in_process(capsys, *arguments)
    assert found == code, err
    assert sentence in err
    assert err.count("\n") == 1


def test_a_policy_with_a_wrong_key_is_told(recorded, capsys):
    for text in ('[[source]]\nname = "a"\nkeys = []\n', '[[source]]\nname = "a"\nkey = "x"\n'):
        (recorded / "trust.toml").write_text(text)
        code, _, err = in_process(capsys, "verify", "old.json", "--policy", "trust.toml")
        assert code == 64
        assert "trust.toml: source.0.key" in err


def test_without_the_extra_the_sentence_names_it(recorded, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    code, _, err = in_process(capsys, "verify", "old.json", "--key", "my.key.pub")
    assert code == 64
    assert "pip install 'crenel[provenance]'" in err


def test_the_group_alone_shows_its_help(capsys):
    code, out, err = in_process(capsys)
    assert code == 64
    assert "keygen" in out + err
    assert "crenel: " not in err
