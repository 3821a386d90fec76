"""Tables, arrays and images, from files and from Python objects."""

from __future__ import annotations

import gzip
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crenel.data import digest_array, digest_file, digest_frame, load, load_table
from crenel.data.csv import read_csv, separator_of, typed
from crenel.data.lines import sample_lines
from crenel.data.sampling import sample_blocks
from crenel.errors import SubjectError, UsageError


def table(n=50):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": rng.integers(18, 80, n),
            "job": rng.choice([" cook", "smith"], n),
            "pay": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
            "ok": rng.choice(["no", "yes"], n),
        }
    )


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), min_size=1, max_size=8)


@given(
    st.lists(st.tuples(CELLS, st.integers(-(10**9), 10**9), st.floats(-1e9, 1e9)), min_size=2),
    st.sampled_from(",;\t|"),
)
@settings(max_examples=50, deadline=None)
def test_what_pandas_writes_is_read_back(tmp_path_factory, rows, separator):
    frame = pd.DataFrame(rows, columns=["word", "whole", "real"])
    frame["word"] = "w" + frame["word"]  # no mark for missing values, no number
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    frame.to_csv(path, index=False, sep=separator)
    read = load_table(path)
    assert list(read.columns) == ["word", "whole", "real"]
    assert read["word"].tolist() == frame["word"].tolist()
    assert read["whole"].tolist() == frame["whole"].tolist()
    assert np.allclose(read["real"], frame["real"], rtol=1e-12)


def test_reading_in_blocks_gives_the_same_table(tmp_path):
    frame = table(1000).assign(flag=[True, False] * 500, late=[1] * 990 + ["x"] * 10)
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    whole, blocks = read_csv(path, []), read_csv(path, [], large=0)
    pd.testing.assert_frame_equal(whole, blocks)
    assert blocks["flag"].dtype == bool
    assert set(blocks["late"]) == {"1", "x"}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("header", [False, True])
def test_large_files_with_and_without_quotes(tmp_path, quoted, header, end):
    frame = table(2000)
    frame.insert(0, "row", np.arange(2000))
    if quoted:
        frame["job"] = '"a\nb"'
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False, header=header, lineterminator=end)
    with path.open("a") as stream:
        stream.write(end)  # a blank line is no row
    notes = []
    read = read_csv(path, notes, max_rows=300, large=0)
    read.columns = frame.columns
    assert "t.csv has 2,000 rows; a uniform sample of 300 is used" in notes
    assert np.array_equal(read["row"], read.index)
    expected = frame.loc[read.index]
    pd.testing.assert_frame_equal(read, expected, check_dtype=False)
    assert len(read_csv(path, [], max_bytes=10_000, large=0)) < 300


@given(st.lists(st.binary(max_size=6), max_size=60), st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_sampled_lines_are_lines_of_the_file(lines, limit):
    lines = [line.replace(b"\n", b"").replace(b"\r", b"").replace(b'"', b"") for line in lines]
    kept, numbers, total = sample_lines(io.BytesIO(b"\n".join(lines)), limit)
    full = [line for line in lines if line.strip()]
    assert total == len(full)
    assert len(kept) == len(numbers) == min(limit, total)
    assert kept == [full[i] for i in numbers]
    assert (np.diff(numbers) > 0).all()
    assert sample_lines(io.BytesIO(b'a,"b'), 3) is None


def test_sampled_lines_are_uniform(monkeypatch):
    monkeypatch.setattr("crenel.data.lines._BLOCK", 16)  # many blocks
    text, hits = b"\n".join(b"%d" % i for i in range(40)), np.zeros(40)
    for seed in range(2000):
        hits[sample_lines(io.BytesIO(text), 5, seed)[1]] += 1
    assert ((hits - 250) ** 2 / 250).sum() < 72.1  # chi-squared, 39 degrees, p = 0.001


def test_too_many_rows_become_a_uniform_sample_with_a_note(tmp_path):
    path = tmp_path / "t.csv"
    pd.DataFrame({"row": np.arange(5000), "x": 1.5}).to_csv(path, index=False)
    notes = []
    read = read_csv(path, notes, max_rows=500, large=0)
    assert notes == ["t.csv has 5,000 rows; a uniform sample of 500 is used"]
    assert np.array_equal(read.index, read["row"])  # row numbers of the file, in its order
    assert (np.diff(read["row"]) > 0).all()
    assert np.array_equal(read_csv(path, [], max_rows=500)["row"], read["row"])
    counts = np.histogram(read["row"], bins=10, range=(0, 5000))[0]
    assert ((counts - 50) ** 2 / 50).sum() < 27.9  # chi-squared with 9 degrees, p = 0.001


@given(st.lists(st.integers(0, 50), max_size=8), st.integers(1, 60), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_samples_of_blocks(sizes, limit, seed):
    starts = np.cumsum([0, *sizes])
    blocks = [pd.DataFrame({"v": np.arange(a, a + n)}) for a, n in zip(starts, sizes)]
    frame, total = sample_blocks(iter(blocks), max_rows=limit, seed=seed)
    assert total == sum(sizes)
    assert len(frame) == min(limit, total)
    if len(frame):
        assert np.array_equal(frame["v"], frame.index)
        assert frame["v"].is_monotonic_increasing
        assert frame["v"].is_unique


def test_memory_bounds_the_sample():
    blocks = (pd.DataFrame({"v": np.zeros(1000)}) for _ in range(50))
    frame, total = sample_blocks(blocks, max_bytes=80_000)
    assert total == 50_000
    assert len(frame) == 10_000


def test_sampling_is_uniform_over_rows():
    hits = np.zeros(40)
    for seed in range(200):
        blocks = [pd.DataFrame({"v": np.arange(a, a + 8)}) for a in range(0, 40, 8)]
        hits[sample_blocks(blocks, max_rows=5, seed=seed)[0]["v"]] += 1
    assert ((hits - 25) ** 2 / 25).sum() < 72.1  # chi-squared, 39 degrees, p = 0.001


def test_files_without_a_header_are_told(tmp_path):
    (tmp_path / "a.csv").write_text("39, State-gov, 7.5\n50, Private, 8\n" * 15)
    notes = []
    read = load_table(tmp_path / "a.csv", notes=notes)
    assert list(read.columns) == ["c0", "c1", "c2"]
    assert len(read) == 30
    assert read["c1"][0] == " State-gov"  # spaces are kept: a model may have learned them
    assert notes == ["a.csv has no header; its columns are named c0 to c2"]
    pixels = pd.DataFrame(np.zeros((30, 5)))  # columns 0 to 4 are names
    pixels.to_csv(tmp_path / "b.csv", index=False)
    assert list(load_table(tmp_path / "b.csv").columns) == list("01234")


def test_question_marks_are_missing_numbers_but_words_stay_words(tmp_path):
    frame = pd.DataFrame({"n": ["1", " ?", "3.5"] * 9, "w": ["a", "?", "b"] * 9, "q": "?"})
    frame.to_csv(tmp_path / "t.csv", index=False)
    notes = []
    read = load_table(tmp_path / "t.csv", notes=notes)
    assert read["n"].isna().sum() == 9
    assert read["n"].dtype == float
    assert set(read["w"]) == {"a", "?", "b"}
    assert set(read["q"]) == {"?"}
    assert notes == ["t.csv: '?' is read as missing in n"]


def test_encodings(tmp_path):
    text = "name;ort\n" + "Ä;Ö\n" * 30
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "t.csv").write_bytes(text.encode(encoding))
        read = load_table(tmp_path / "t.csv")
        assert list(read.columns) == ["name", "ort"]
        assert read["name"][0] == "Ä"
    (tmp_path / "t.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(SubjectError, match=r"is not UTF-8 text: the byte 0xc4 .* iconv"):
        load_table(tmp_path / "t.csv")
    with gzip.open(tmp_path / "t.csv.gz", "wt") as stream:
        stream.write(text.replace("Ä", "A").replace("Ö", "O"))
    assert len(load_table(tmp_path / "t.csv.gz")) == 30


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"a,b\n1,2\n3,4,5\n", "is not a regular table"),
        (b"a,b\n\x00\x01\x02", "is not a text file"),
    ],
)
def test_irregular_files_are_told(tmp_path, content, message):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(SubjectError, match=message):
        load_table(tmp_path / "t.csv")


def test_separators():
    assert separator_of(["a;b,c\n", "1;2,3\n"]) in ";,"
    assert separator_of(['"x, y";2\n'] * 5) == ";"
    assert separator_of(["one column\n"] * 5) == ","


def test_text_columns_get_their_types():
    frame = pd.DataFrame({"a": ["1", "2"], "b": ["1", "x"], "c": ["True", "False"]}, dtype=str)
    out = typed(frame)
    assert [out[c].dtype.kind for c in "ac"] == ["i", "b"]
    assert out["b"].tolist() == ["1", "x"]


@pytest.mark.parametrize("suffix", ["parquet", "feather", "arrow"])
def test_columnar_files(tmp_path, suffix):
    pyarrow = pytest.importorskip("pyarrow")
    frame = table().astype({"job": "category"})
    path = tmp_path / f"t.{suffix}"
    if suffix == "parquet":
        frame.to_parquet(path)
    elif suffix == "feather":
        frame.to_feather(path)
    else:
        arrow = pyarrow.Table.from_pandas(frame)
        with pyarrow.ipc.new_stream(path, arrow.schema) as stream:
            stream.write_table(arrow, max_chunksize=20)
    pd.testing.assert_frame_equal(load_table(path), frame)
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(SubjectError, match="cannot be read"):
        load_table(path)


def test_large_columnar_files_are_sampled(tmp_path):
    pytest.importorskip("pyarrow")
    pd.DataFrame({"v": np.arange(3000)}).to_parquet(tmp_path / "t.parquet", row_group_size=100)
    notes = []
    read = load_table(tmp_path / "t.parquet", notes=notes, max_rows=50)
    assert np.array_equal(read.index, read["v"])
    assert notes == ["t.parquet has 3,000 rows; a uniform sample of 50 is used"]


def test_labels_ids_and_sources_are_split_off(tmp_path):
    frame = table().assign(id=np.arange(100, 150), branch="north")
    frame.to_csv(tmp_path / "t.csv", index=False)
    loaded = load("t.csv", label="ok", source="branch", record_id="id", root=tmp_path)
    assert list(loaded.x.columns) == ["age", "job", "pay"]
    assert loaded.labels.tolist() == frame["ok"].tolist()
    assert loaded.ids.tolist() == list(range(100, 150))
    assert set(loaded.source) == {"north"}
    plain = load("t.csv", label="ok", root=tmp_path)
    assert plain.ids.tolist() == list(range(50))
    assert plain.source is None


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
@pytest.mark.parametrize("apart", [False, True])
def test_frames_of_every_library(library, apart):
    frame = table()
    made = {
        "pandas": lambda f: f,
        "polars": lambda f: pytest.importorskip("polars").from_pandas(f),
        "pyarrow": lambda f: pytest.importorskip("pyarrow").Table.from_pandas(f),
    }[library]
    if apart:
        y = frame["ok"] if library == "pandas" else frame["ok"].to_numpy()
        loaded = load((made(frame.drop(columns="ok")), y), label=None)
    else:
        loaded = load(made(frame), label="ok")
    assert loaded.labels.tolist() == frame["ok"].tolist()
    assert loaded.x["job"].tolist() == frame["job"].tolist()
    assert np.allclose(loaded.x["pay"].to_numpy(float), frame["pay"], equal_nan=True)


def test_frames_keep_their_own_index_as_ids():
    frame = table().set_axis([f"r{i}" for i in range(50)], axis=0)
    assert load(frame, label="ok").ids.tolist() == [f"r{i}" for i in range(50)]


def test_arrays(tmp_path):
    x, y = np.random.default_rng(0).random((30, 3, 8, 8)), np.arange(30) % 2
    np.savez(tmp_path / "d.npz", x=x, y=y)
    loaded = load("d.npz", root=tmp_path)
    assert np.array_equal(loaded.x, x)
    assert np.array_equal(loaded.labels, y)
    assert np.array_equal(load((x, y)).x, x)
    np.savez(tmp_path / "d.npz", data=x, labels=y)
    assert np.array_equal(load("d.npz", root=tmp_path).labels, y)
    np.savez(tmp_path / "e.npz", rows=x, y=y)
    with pytest.raises(SubjectError, match="holds the arrays rows, y, and x and y are needed"):
        load("e.npz", root=tmp_path)
    np.save(tmp_path / "d.npy", x)
    with pytest.raises(SubjectError, match="rows without labels"):
        load("d.npy", root=tmp_path)
    np.savez(tmp_path / "o.npz", x=np.array([{}, 1], dtype=object), y=y)
    with pytest.raises(SubjectError, match="Python objects, which are never unpickled"):
        load("o.npz", root=tmp_path)


@pytest.mark.parametrize(
    ("data", "kwargs", "error", "message"),
    [
        ("absent.csv", {}, UsageError, "there is no file"),
        (
            table(),
            {},
            UsageError,
            r'name the column of the label: label = "…"; the columns are age',
        ),
        (
            table(),
            {"label": "okk"},
            UsageError,
            r"no column 'okk', named as label \(did you mean 'ok'\?\)",
        ),
        (table(), {"label": "ok", "source": "who"}, UsageError, "no column 'who', named as source"),
        ((table(), np.zeros(3)), {}, SubjectError, "has 50 rows and 3 labels"),
        ((np.zeros((5, 2)), np.zeros(3)), {}, SubjectError, "has 5 rows and 3 labels"),
        ((np.zeros(5), np.zeros(5)), {}, SubjectError, r"array of shape \(5,\)"),
        (np.zeros((5, 2)), {}, UsageError, "holds no labels"),
        ((1, 2, 3), {}, UsageError, "not 3 things"),
        (
            pd.DataFrame([[1, 2, 3]], columns=["a", "a", "y"]),
            {"label": "y"},
            SubjectError,
            "two columns named 'a'",
        ),
    ],
)
def test_mistakes_are_told_in_one_sentence(data, kwargs, error, message):
    with pytest.raises(error, match=message) as told:
        load(data, name="train", **kwargs)
    assert "\n" not in str(told.value)


def test_folders_of_images(tmp_path):
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (6, 5, 7), dtype=np.uint8)
    for i, a in enumerate(pixels):
        folder = tmp_path / "set" / ("cat" if i % 2 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        image.fromarray(a).save(folder / f"{i}.png")
    (tmp_path / "set" / "cat" / "notes.txt").write_text("x")
    notes = []
    loaded = load("set", root=tmp_path, notes=notes)
    assert loaded.x.shape == (6, 1, 5, 7)
    assert loaded.x.dtype == np.float32
    assert loaded.labels.tolist() == ["cat"] * 3 + ["dog"] * 3
    assert loaded.ids.tolist()[:2] == ["cat/1.png", "cat/3.png"]
    assert np.array_equal(np.round(loaded.x[:, 0] * 255), pixels[[1, 3, 5, 0, 2, 4]])
    assert "(channel, row, column) in [0, 1]" in notes[0]
    image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)).save(
        tmp_path / "set/cat/c.png"
    )
    assert load("set", root=tmp_path).x.shape == (7, 3, 5, 7)
    image.fromarray(pixels[0].T).save(tmp_path / "set/dog/turned.png")
    with pytest.raises(SubjectError, match=r"turned\.png is 5 × 7 pixels and .* is 7 × 5"):
        load("set", root=tmp_path)
    (tmp_path / "set/dog/turned.png").write_bytes(b"\x89PNG nonsense")
    with pytest.raises(SubjectError, match="cannot be read as an image"):
        load("set", root=tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SubjectError, match="one subfolder for each class"):
        load("empty", root=tmp_path)


def test_digests_tell_contents_apart(tmp_path):
    import hashlib

    (tmp_path / "f").write_bytes(b"abc" * 999_999)
    assert digest_file(tmp_path / "f") == f"sha256:{hashlib.sha256(b'abc' * 999_999).hexdigest()}"
    x = np.arange(12.0).reshape(3, 4)
    assert digest_array(x) == digest_array(np.asfortranarray(x))
    assert digest_array(x) == digest_array(x.astype(">f8"))
    different = [x, x.T, x.reshape(4, 3), x.astype(np.float32), x + 1, x.astype(object)]
    assert len({digest_array(a) for a in different}) == len(different)
    frame = table()
    assert digest_frame(frame) == digest_frame(frame.set_axis(range(7, 57), axis=0))
    frames = [
        frame,
        frame.rename(columns={"age": "Age"}),
        frame.iloc[::-1],
        frame.assign(job=frame["job"].str.strip()),
        frame.fillna({"pay": 0.0}),
        frame[["job", "age"]],
        pd.DataFrame({"t": ["ab", "c"]}),
        pd.DataFrame({"t": ["a", "bc"]}),
        pd.DataFrame({"t": ["1", None]}),
        pd.DataFrame({"t": [1, None]}, dtype=object),
    ]
    assert len({digest_frame(f) for f in frames}) == len(frames)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_text("1")
    one = digest_file(tmp_path / "d")
    (tmp_path / "d" / "a").rename(tmp_path / "d" / "b")
    assert digest_file(tmp_path / "d") != one
