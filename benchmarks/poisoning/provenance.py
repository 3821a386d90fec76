"""Signed row-level manifests and differences of snapshots: how fast, and what they notice.

Run with ``python benchmarks/poisoning/provenance.py [--rows N] [--folder DIR]``. A table of ten
columns of mixed types is recorded with a signature, changed in known rows, recorded again, and the
two snapshots are compared; every change must be found and named. Beside it, on the same table:

- one SHA-256 call of ``hashlib`` for each row's canonical bytes (what a loop would cost);
- ``pandas.util.hash_pandas_object``, which is no cryptographic hash;
- datacompy's comparison by a key, and MLflow's digest of a data set (``pip install datacompy
  mlflow-skinny``), each left out where it is not installed.

CPU seconds of the best of ``--repeats``; compare ratios.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from crenel.provenance.columns import as_columns
from crenel.provenance.difference import compare_indexes
from crenel.provenance.incoming import gate
from crenel.provenance.keys import make_key, read_private, read_public
from crenel.provenance.merkle import merkle_root
from crenel.provenance.outcome import verdict
from crenel.provenance.recording import record
from crenel.provenance.rows import Roles, index_rows, row_digests
from crenel.provenance.sha256 import warm_up
from crenel.provenance.snapshots import compare_snapshots
from crenel.provenance.verification import verify

KEYED = Roles("label", "source", ("id",))


def made_table(n: int, seed: int = 0, first: int = 0) -> pa.Table:
    """Ten columns: whole numbers, doubles, singles, categories, text, truth, moments."""
    rng = np.random.default_rng(seed)
    jobs = np.array(["clerk", "farmer", "teacher", "a job with a title of more than 31 letters"])
    towns = np.array([f"town {i}" for i in range(5000)])
    pay = pa.array(rng.normal(3000, 900, n), mask=rng.random(n) < 0.02)
    return pa.table(
        {
            "id": np.arange(first, first + n),
            "age": rng.integers(17, 90, n),
            "pay": pay,
            "score": rng.normal(size=n).astype(np.float32),
            "job": pa.array(rng.choice(jobs, n)).dictionary_encode(),
            "town": rng.choice(towns, n),
            "member": rng.random(n) < 0.5,
            "seen": pa.array(rng.integers(0, 2**30, n)).cast(pa.timestamp("s")),
            "label": rng.choice(["yes", "no"], n),
            "source": rng.choice(list("abcdef"), n),
        }
    )


def changed(table: pa.Table) -> tuple[pa.Table, dict[str, int]]:
    """The table with known changes: 300 edited, 200 relabelled, 200 removed, 100 added."""
    frame = table.to_pandas()
    rows = np.random.default_rng(1).choice(len(frame), 700, replace=False)
    frame.loc[rows[:300], "age"] += 1
    frame.loc[rows[300:500], "label"] = frame.loc[rows[300:500], "label"].map(
        {"yes": "no", "no": "yes"}
    )
    extra = frame.tail(100).assign(id=np.arange(len(frame), len(frame) + 100))
    frame = pd.concat([frame.drop(index=rows[500:]), extra], ignore_index=True)
    counts = {"edited": 300, "relabelled": 200, "removed": 200, "added": 100}
    return pa.Table.from_pandas(frame, schema=table.schema, preserve_index=False), counts


def best(repeats: int, work: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall seconds of the quickest of some runs."""
    times = []
    for _ in range(repeats):
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        times.append((time.process_time() - cpu, time.perf_counter() - wall))
    return min(times)


def show(name: str, seconds: tuple[float, float]) -> None:
    print(f"  {name:<58} {seconds[0]:7.2f} s CPU {seconds[1]:7.2f} s wall", flush=True)


def hashlib_loop(table: pa.Table) -> bytes:
    """A digest for each row from its values as text, the plain way."""
    columns = [c.to_pylist() for c in table.columns]
    return b"".join(hashlib.sha256(repr(row).encode()).digest() for row in zip(*columns))


def speed(folder: Path, n: int, repeats: int) -> None:
    table = made_table(n)
    after, planted = changed(table)
    pq.write_table(table, folder / "old.parquet")
    pq.write_table(after, folder / "new.parquet")
    table.to_pandas().to_csv(folder / "old.csv", index=False)
    make_key(folder / "my.key")
    private, public = read_private(folder / "my.key"), read_public(folder / "my.key.pub")
    old, new = folder / "old.json", folder / "new.json"

    def recorded(name: str, out: Path) -> Callable[[], object]:
        return lambda: record([folder / name], out, roles=KEYED, private=private)

    print(f"{n:,} rows of {table.num_columns} columns")
    show(
        "record: Parquet to signed manifest with row digests",
        best(repeats, recorded("old.parquet", old)),
    )
    show("record: the same from CSV", best(1, recorded("old.csv", folder / "csv.json")))
    recorded("new.parquet", new)()
    show(
        "verify: signature, file, every row again",
        best(repeats, lambda: verify(old, keys=[public])),
    )
    assert verdict(verify(old, keys=[public])) == "pass"
    show(
        "diff: two manifests with their row digests",
        best(repeats, lambda: compare_snapshots(old, new)),
    )
    (change,) = compare_snapshots(old, new)
    found = {k: v for k, v in change.difference.counts().items() if v}
    assert found == planted, found
    batch = made_table(n // 100, seed=7, first=2 * n)
    pq.write_table(batch, folder / "batch.parquet")
    judged = gate(folder / "batch.parquet", old)
    assert verdict(judged) == "pass", [t.sentence for t in judged if not t.passed]
    tested = best(repeats, lambda: gate(folder / "batch.parquet", old))
    show(f"gate: a batch of {n // 100:,} rows", tested)
    columns = as_columns(table)
    show("  of record: row digests", best(repeats, lambda: row_digests(columns)))
    index, other = index_rows(columns, KEYED), index_rows(as_columns(after), KEYED)
    show("  of record: Merkle root", best(repeats, lambda: merkle_root(index.digests)))
    order = np.random.default_rng(2).permutation(n)
    shuffled = index_rows(columns.take(order), KEYED)
    show("  diff in memory", best(repeats, lambda: compare_indexes(index, other)))
    show("  diff in memory, rows shuffled", best(repeats, lambda: compare_indexes(index, shuffled)))
    show("a loop of hashlib over rows", best(1, lambda: hashlib_loop(table)))
    frame, late = table.to_pandas(), after.to_pandas()
    show("pandas.util.hash_pandas_object", best(repeats, lambda: pd.util.hash_pandas_object(frame)))
    show(
        "pandas: outer merge on all columns",
        best(1, lambda: frame.merge(late, how="outer", indicator=True)),
    )
    compare_with_datacompy(frame, late)
    sizes = [(folder / name).stat().st_size / n for name in ("old.json.rows", "old.parquet")]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"  at most {peak:.1f} GB of memory, the peers' included")
    print(f"  row digests take {sizes[0]:.0f} bytes a row; the Parquet file {sizes[1]:.0f}")


def compare_with_datacompy(old: pd.DataFrame, new: pd.DataFrame) -> None:
    try:
        import datacompy
    except ImportError as error:
        print(f"  datacompy is left out: {error}")
        return
    kind = getattr(datacompy, "PandasCompare", None) or datacompy.Compare
    show("datacompy: by its key", best(1, lambda: kind(old, new, join_columns="id")))


def notices(trials: int) -> None:
    """One changed cell of 30,000 rows: who notices?"""
    frame = made_table(30_000).to_pandas()
    rng = np.random.default_rng(3)
    ours = row_digests(as_columns(frame))
    digest = mlflow_digest()
    theirs = digest(frame) if digest else None
    seen = {"crenel": 0, "crenel, and names the row": 0, "MLflow's digest": 0}
    for _ in range(trials):
        row, column = (
            int(rng.integers(len(frame))),
            str(rng.choice(["age", "pay", "member", "label"])),
        )
        edited = frame.copy()
        value = edited.at[row, column]
        other = {"yes": "no", "no": "yes"}[value] if column == "label" else None
        edited.at[row, column] = other or (
            not value if column == "member" else 1 if pd.isna(value) else value + 1
        )
        rows = np.flatnonzero((row_digests(as_columns(edited)) != ours).any(axis=1))
        seen["crenel"] += len(rows) > 0
        seen["crenel, and names the row"] += rows.tolist() == [row]
        seen["MLflow's digest"] += bool(digest) and digest(edited) != theirs
    print(f"one changed cell of 30,000 rows, {trials} trials: noticed by")
    for name, n in seen.items():
        print(f"  {name:<58} {n if digest or 'MLflow' not in name else 'not installed'}")


def mlflow_digest() -> Callable[[pd.DataFrame], str] | None:
    try:
        from mlflow.data.digest_utils import compute_pandas_digest
    except ImportError as error:
        print(f"MLflow is left out: {error}")
        return None
    return compute_pandas_digest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--folder", type=Path, default=None)
    given = parser.parse_args()
    warm_up()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        speed(Path(folder), given.rows, given.repeats)
    notices(given.trials)


if __name__ == "__main__":
    main()
