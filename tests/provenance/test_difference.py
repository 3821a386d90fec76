from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crenel.errors import SubjectError
from crenel.provenance.columns import as_columns
from crenel.provenance.difference import compare_indexes
from crenel.provenance.fields import edits
from crenel.provenance.index import RowIndex, read_index, write_index
from crenel.provenance.recording import record
from crenel.provenance.rows import Roles, index_rows
from crenel.provenance.snapshots import compare_snapshots

KEYED = Roles("bought", "vendor", ("id",))
KEYLESS = Roles("bought", "vendor")


def compared(old, new, roles):
    a, b = index_rows(as_columns(old), roles), index_rows(as_columns(new), roles)
    return compare_indexes(a, b), a, b


def altered(table):
    """Known changes of every kind."""
    new = table.copy()
    new.loc[3, "pay"] += 1
    new.loc[[5, 6], "bought"] = new.loc[[5, 6], "bought"].map({"yes": "no", "no": "yes"})
    new.loc[8, "vendor"] = "beta" if new.loc[8, "vendor"] == "acme" else "acme"
    new = new.drop(index=[11, 12]).reset_index(drop=True)
    extra = table.tail(1).assign(id=99, pay=7.0, vendor="gamma")
    return pd.concat([new, extra], ignore_index=True)


@pytest.mark.parametrize("roles", [KEYED, KEYLESS])
def test_each_kind_of_change_is_found_and_named(table, roles):
    if not roles.key:
        table = table.drop(columns="id")
    new = altered(table).drop(columns=[] if roles.key else "id", errors="ignore")
    found, old, late = compared(table, new, roles)
    assert found.edited.old.tolist() == found.edited.new.tolist() == [3]
    assert found.relabelled.old.tolist() == [5, 6]
    assert found.reattributed.new.tolist() == [8]
    assert found.removed.tolist() == [11, 12]
    assert found.added.tolist() == [38]
    assert (found.unchanged, found.moved) == (34, 0)
    assert found.changed.tolist() == [3, 5, 6, 8, 38]
    by_source = found.by_source(old, late)
    assert by_source["gamma"] == {
        "added": 1, "removed": 0, "relabelled": 0, "edited": 0, "reattributed": 0,
        "renamed": 0,
    }  # fmt: skip
    gone = Counter(table.loc[[11, 12], "vendor"])
    assert {s: c["removed"] for s, c in by_source.items() if c["removed"]} == dict(gone)
    turned = Counter(f"{a} → {'no' if a == 'yes' else 'yes'}" for a in table.loc[[5, 6], "bought"])
    assert found.relabellings(old, late) == dict(turned)


def test_a_shuffled_table_with_keys_is_told_apart_record_by_record(table):
    new = altered(table)
    order = np.random.default_rng(1).permutation(len(new))
    found, _, _ = compared(table, new.iloc[order], KEYED)
    assert found.counts() == {
        "added": 1, "removed": 2, "relabelled": 2, "edited": 1, "reattributed": 1,
        "renamed": 0,
    }  # fmt: skip
    assert found.unchanged == 34
    assert found.moved > 20
    assert order[found.edited.new].tolist() == [3]


def test_a_record_under_another_key_is_renamed_where_no_other_row_is_like_it(table):
    new = table.assign(id=table["id"].where(table["id"] != 7, 70))
    found, _, _ = compared(table, new, KEYED)
    assert (found.renamed.old.tolist(), found.renamed.new.tolist()) == ([7], [7])
    alike = pd.concat([table, table.iloc[[7, 7]].assign(id=[50, 51])], ignore_index=True)
    found, _, _ = compared(alike, alike.assign(id=alike["id"] + 100 * (alike["id"] >= 50)), KEYED)
    assert len(found.renamed) == 0
    assert (len(found.added), len(found.removed)) == (2, 2)


def test_one_row_that_moves_is_one_that_moved(table):
    order = [*range(1, 20), 0, *range(20, 40)]
    found, _, _ = compared(table, table.iloc[order], KEYED)
    assert (found.unchanged, found.moved) == (40, 1)


def test_without_rows_before_or_after(table):
    for old, new in ((table.head(0), table), (table, table.head(0)), (table.head(0),) * 2):
        for roles in (KEYED, KEYLESS):
            found, _, _ = compared(old.astype(table.dtypes), new.astype(table.dtypes), roles)
            assert (len(found.removed), len(found.added)) == (len(old), len(new))


ROWS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from("ab")), max_size=12)


@given(ROWS, ROWS)
def test_the_counts_are_those_of_multisets(old, new):
    frames = [pd.DataFrame(rows, columns=["x", "bought"]) for rows in (old, new)]
    frames = [f.astype({"x": "int64", "bought": "string"}) for f in frames]
    found, _, _ = compared(*frames, Roles("bought"))
    a, b = Counter(old), Counter(new)
    pairs = sum(len(p) for p in (found.relabelled, found.edited, found.reattributed, found.renamed))
    assert found.unchanged == (a & b).total()
    assert len(found.removed) + pairs == (a - b).total()
    assert len(found.added) + pairs == (b - a).total()
    assert not (len(found.removed) and len(found.added)) or pairs < min(len(old), len(new))
    for i, j in zip(found.relabelled.old, found.relabelled.new):
        assert old[i][0] == new[j][0]
        assert old[i][1] != new[j][1]
    for i, j in zip(found.edited.old, found.edited.new):
        assert old[i][0] != new[j][0]


def test_rows_that_share_their_first_bytes_by_intent_are_told_apart():
    """Whoever makes two rows whose digests begin alike must not be able to swap them."""
    digests = np.zeros((4, 32), dtype=np.uint8)
    digests[:, 31] = [1, 2, 3, 4]

    def index(rows):
        n = len(rows)
        codes = np.zeros(n, dtype=np.int32)
        return RowIndex(digests[rows], digests[rows, 16:], None, ("",), codes, ("",), codes)

    found = compare_indexes(index([0, 1]), index([2, 0, 1]))
    assert found.unchanged == 2
    assert len(found.added) + len(found.edited) == 1
    assert compare_indexes(index([0, 0, 1]), index([1, 1, 0])).unchanged == 2


def test_an_index_survives_its_file_and_a_damaged_one_is_told(table, tmp_path):
    path = tmp_path / "a.rows"
    index = index_rows(as_columns(table), KEYED)
    write_index(path, {"a": index, "b": index_rows(as_columns(table.head(0)), KEYLESS)})
    again = read_index(path)
    assert list(again) == ["a", "b"]
    for name in ("digests", "content", "keys", "label_codes", "source_codes"):
        assert np.array_equal(getattr(again["a"], name), getattr(index, name))
    assert (again["a"].labels, again["a"].sources) == (index.labels, index.sources)
    assert again["b"].keys is None
    write_index(path, {"a": index_rows(as_columns(table.head(1)), KEYED)})
    assert np.array_equal(again["a"].digests, index.digests)  # the old file is still there for it
    write_index(path, {"a": index, "b": index_rows(as_columns(table.head(0)), KEYLESS)})
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for cut in (0, 5, 16, 40, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(SubjectError, match="cannot be read as a row index"):
            read_index(path)
    for _ in range(300):
        changed = bytearray(content)
        changed[rng.integers(0, 700)] = rng.integers(0, 256)
        path.write_bytes(changed)
        try:
            read_index(path)
        except SubjectError as error:
            assert "row index" in str(error)  # noqa: PT017  either is right


def test_other_columns_are_told_and_the_shared_ones_compared(table, tmp_path):
    old, new = tmp_path / "a.parquet", tmp_path / "b.parquet"
    table.to_parquet(old, index=False)
    later = altered(table).rename(columns={"age": "years"}).assign(pay=lambda t: t["pay"].round(3))
    later["pay"] = later["pay"].astype("float32")
    later.to_parquet(new, index=False)
    (change,) = compare_snapshots(old, new, KEYED)
    assert "'age' is gone, 'years' is new, 'pay' was float and is float32" in change.note
    # the edited field is one of those left out
    assert change.difference.counts() == {
        "added": 1, "removed": 2, "relabelled": 2, "edited": 0, "reattributed": 1, "renamed": 0,
    }  # fmt: skip
    table[[*table.columns[1:], "id"]].to_parquet(new, index=False)
    (change,) = compare_snapshots(old, new, KEYED)
    assert "order" in change.note
    assert change.difference.unchanged == len(table)
    pd.DataFrame({"z": [1]}).to_parquet(new, index=False)
    with pytest.raises(SubjectError, match="no column in common"):
        compare_snapshots(old, new)


def test_other_columns_cannot_be_compared_where_the_old_file_is_gone(table, tmp_path):
    file = tmp_path / "train.csv"
    table.to_csv(file, index=False)
    record([file], tmp_path / "a.json", roles=KEYED)
    table.assign(more=1).to_csv(file, index=False)
    record([file], tmp_path / "b.json", roles=KEYED)
    with pytest.raises(SubjectError, match=r"'more' is new.*keep the files of both snapshots"):
        compare_snapshots(tmp_path / "a.json", tmp_path / "b.json")


def test_snapshots_with_other_roles_are_not_compared(table, tmp_path):
    table.to_parquet(tmp_path / "t.parquet", index=False)
    record([tmp_path / "t.parquet"], tmp_path / "a.json", roles=KEYED)
    record([tmp_path / "t.parquet"], tmp_path / "b.json", roles=KEYLESS)
    with pytest.raises(SubjectError, match="record both alike"):
        compare_snapshots(tmp_path / "a.json", tmp_path / "b.json")


def test_edited_fields_are_shown_from_what_to_what(table, tmp_path):
    new = table.copy()
    new.loc[3, "pay"] += 1
    new.loc[5, ["age", "town"]] = [99, None if pd.notna(table.loc[5, "town"]) else "C"]
    new = new.drop(index=0)
    for name, frame in (("a", table), ("b", new)):
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    (change,) = compare_snapshots(tmp_path / "a.csv", tmp_path / "b.csv", KEYED)
    counts, listed = edits(change)
    assert counts == {"age": 1, "pay": 1, "town": 1}
    assert [(e.old, e.new) for e in listed] == [(3, 2), (5, 4)]
    assert listed[0].fields == {"pay": (table.loc[3, "pay"], new.loc[3, "pay"])}
    assert set(listed[1].fields) == {"age", "town"}
    assert "(missing)" in listed[1].sentence()
    assert len(edits(change, 1)[1]) == 1
    table.assign(pay=0).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(SubjectError, match="does not hold the rows of this snapshot"):
        edits(change)
