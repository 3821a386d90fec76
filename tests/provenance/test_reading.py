import gzip

import numpy as np
import pytest

from crenel.errors import SubjectError, UsageError
from crenel.provenance.reading import read_columns
from crenel.provenance.rows import row_digests


def read(tmp_path, text, types=None, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_columns(path, types)


def test_types_of_text_are_told_from_all_values(tmp_path):
    text = "i,f,b,z,t,e,n\n1,1.5,True,007,x,,1\n-2,NA,false,010,NA,,?\n0,1e3,TRUE,,None,,2\n"
    columns = read(tmp_path, text)
    assert dict(zip(columns.names, columns.types)) == {
        "i": "int", "f": "float", "b": "bool", "z": "text", "t": "text", "e": "text", "n": "int",
    }  # fmt: skip
    assert columns["f"].to_pylist() == [1.5, None, 1000.0]
    assert columns["z"].to_pylist() == ["007", "010", None]
    assert columns["t"].to_pylist() == ["x", "NA", "None"]
    assert columns["n"].to_pylist() == [1, None, 2]


@pytest.mark.parametrize("value", ["+5", "0x1f", " 5", "5 ", "1_000", "0123.5", "9" * 30])
def test_numbers_that_would_not_be_written_so_again_are_no_whole_numbers(tmp_path, value):
    columns = read(tmp_path, f"a,b\n1,x\n{value},y\n")
    assert columns.types[0] in ("text", "float")
    assert columns.types[0] == "text" or columns["a"].to_pylist()[1] == float(value)


def test_types_that_are_declared_are_kept_to(tmp_path):
    text = "zip,when,day\n123,2021-05-01 12:00:00.5,2021-05-01\n,,\n"
    types = {"zip": "text", "when": "timestamp", "day": "date"}
    columns = read(tmp_path, text, types)
    assert columns.types == ("text", "timestamp", "date")
    assert columns["zip"].to_pylist() == ["123", None]
    with pytest.raises(SubjectError, match="column 'zip' is declared as int"):
        read(tmp_path, "zip\nabc\n1\n", {"zip": "int"})
    with pytest.raises(SubjectError, match="column 'zip' is declared as colour"):
        read(tmp_path, "zip\nabc\n1\n", {"zip": "colour"})


def test_separators_marks_and_compression_do_not_matter(tmp_path):
    plain = row_digests(read(tmp_path, "a,b\n1,x y\n2,ü\n"))
    others = {
        "a.csv": "a;b\n1;x y\n2;ü\n",
        "b.tsv": "a\tb\n1\tx y\n2\tü\n",
        "c.csv": '"a","b"\r\n"1","x y"\r\n"2","ü"\r\n',
        "d.csv": "\ufeffa,b\n1,x y\n2,ü\n",
        "e.csv": "a,b\n1,x y\n2,ü\n".encode("utf-16"),
        "f.csv.gz": gzip.compress("a,b\n1,x y\n2,ü\n".encode()),
        "g.jsonl": '{"a": 1, "b": "x y"}\n{"a": 2, "b": "ü"}\n',
    }
    for name, text in others.items():
        assert np.array_equal(row_digests(read(tmp_path, text, name=name)), plain), name


def test_fields_may_hold_line_ends_and_quotes(tmp_path):
    columns = read(tmp_path, 'a,b\n"x\ny","say ""hi"""\n,2\n')
    assert columns["a"].to_pylist() == ["x\ny", None]
    assert columns["b"].to_pylist() == ['say "hi"', "2"]


def test_doubles_are_read_to_the_last_bit(tmp_path):
    values = np.random.default_rng(0).normal(size=2000) * 10.0 ** np.arange(2000)[::-1].clip(0, 300)
    columns = read(tmp_path, "a\n" + "\n".join(map(repr, values.tolist())) + "\n")
    assert np.array_equal(columns["a"].to_numpy(), values)


def test_arrays_are_rows(tmp_path):
    x = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    np.savez(tmp_path / "a.npz", x=x, y=np.array(["a", "b", "a", "b"]))
    np.savez(tmp_path / "b.npz", x=np.asfortranarray(x), y=np.array(["a", "b", "a", "b"]))
    a, b = read_columns(tmp_path / "a.npz"), read_columns(tmp_path / "b.npz")
    assert a.types == ("array<float32,2x3>", "text")
    assert np.array_equal(row_digests(a), row_digests(b))
    x[2, 1, 1] += 1
    np.savez(tmp_path / "b.npz", x=x, y=np.array(["a", "b", "a", "b"]))
    changed = (row_digests(read_columns(tmp_path / "b.npz")) != row_digests(a)).any(axis=1)
    assert changed.tolist() == [False, False, True, False]
    np.savez(tmp_path / "b.npz", x=np.array([{}], dtype=object))
    with pytest.raises(SubjectError, match=r"b.npz cannot be read"):
        read_columns(tmp_path / "b.npz")


def test_a_folder_is_its_files(tmp_path):
    for name in ("cats/1.png", "cats/2.png", "dogs/1.png", ".hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    columns = read_columns(tmp_path)
    assert columns["path"].to_pylist() == ["cats/1.png", "cats/2.png", "dogs/1.png"]
    assert columns["label"].to_pylist() == ["cats", "cats", "dogs"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(SubjectError, match="holds no files"):
        read_columns(tmp_path / "empty")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"a,b\n1,2\n1,2,3\n", "not a regular table"),
        ("a.csv", b"a,a\n1,2\n", "two columns named 'a'"),
        ("a.csv", b"a,b\nx,\xff\xfe\n", "not a regular table"),
        ("a.csv", b"\x00\x01\x02", "not a text file"),
        ("a.csv.gz", b"a,b\n1,2\n", "cannot be read"),
        ("a.parquet", b"PAR1nonsense", "cannot be read"),
        ("a.arrow", b"nonsense", "cannot be read"),
        ("a.npz", b"nonsense", "cannot be read"),
        ("a.jsonl", b"{nonsense", "cannot be read"),
    ],
)
def test_a_broken_file_is_told_in_one_sentence(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SubjectError, match=sentence) as caught:
        read_columns(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_text_is_a_table_only_where_it_is_one(tmp_path):
    assert read(tmp_path, "a;b\n1;x\n2;y\n", name="a.txt").types == ("int", "text")
    assert read(tmp_path, "Read me.\nOne, two, three.\n", name="b.txt") is None
    with pytest.raises(SubjectError, match="not a regular table"):
        read(tmp_path, "Read me.\nOne, two, three.\n", {"a": "int"}, name="b.txt")


def test_other_files_have_no_rows_and_missing_ones_are_told(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"x")
    assert read_columns(tmp_path / "model.bin") is None
    with pytest.raises(UsageError, match="there is no file"):
        read_columns(tmp_path / "nothing.csv")
