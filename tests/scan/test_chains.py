"""Files made of listed names alone that act through how these are put together."""

from __future__ import annotations

import copyreg
import functools
import io
import pickle
import pickletools
import subprocess
import sys
import types

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_selection._base import _get_feature_importances
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import ParameterGrid
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from crenel.scan import scan_bytes


class Reduced:
    """Pickles as a call, with a state where one is given."""

    def __init__(self, callee, *args, state=None):
        self.parts = (callee, args) if state is None else (callee, args, state)

    def __reduce__(self):
        return self.parts


class Made:
    """Pickles as an object of a class that was never run its constructor, with a state."""

    def __init__(self, cls, state):
        self.parts = (copyreg.__newobj__, (cls,), state)

    @property
    def __class__(self):
        return self.parts[1][0]

    def __reduce_ex__(self, protocol):
        return object.__getattribute__(self, "parts")


def dtype(code, *state):
    return Reduced(np.dtype, code, False, True, state=(3, "|", *state))


def array(kind, raw):
    made = np._core.multiarray._reconstruct
    return Reduced(made, np.ndarray, (0,), b"b", state=(1, (1,), kind, False, raw))


OBJECT, NUMBER = np.dtype("O"), np.dtype("i8")
MANY = {f"f{i}": (np.dtype("i1"), i) for i in range(40)} | {"z": (OBJECT, 40)}
DTYPES = {
    "objects": dtype("O8", None, None, None, -1, -1, 0),
    "objects-by-class": dtype(np.object_, None, None, None, -1, -1, 0),
    "objects-by-name": dtype("object", None, None, None, -1, -1, 0),
    "record": dtype("V8", None, ("a",), {"a": (OBJECT, 0)}, 8, 1, 0),
    "record-many": dtype("V48", None, tuple(MANY), MANY, 48, 1, 0),
    "inner": dtype("V8", (dtype("V8", None, ("a",), {"a": (OBJECT, 0)}, 8, 1, 27), (1,)),
                   None, None, 8, 1, 0),
    "outside": dtype("V8", None, ("a",), {"a": (NUMBER, 1 << 30)}, 8, 1, 0),
    "before": dtype("V8", None, ("a",), {"a": (NUMBER, -64)}, 8, 1, 0),
    "sub-array": dtype("V8", (NUMBER, (1 << 20,)), None, None, 8, 1, 0),
    "sized": dtype("i8", None, None, None, 1 << 20, 1, 0),
}  # fmt: skip


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("key", sorted(DTYPES))
def test_a_dtype_that_lies_about_itself_is_not_clean(key, protocol):
    data = pickle.dumps(array(DTYPES[key], b"A" * 8), protocol)
    assert scan_bytes(data).verdict == ("review" if key == "record-many" else "dangerous")


def test_numpy_takes_the_bytes_of_such_an_array_for_addresses(tmp_path):
    file = tmp_path / "x.pkl"
    file.write_bytes(pickle.dumps(array(DTYPES["objects"], b"A" * 8), 2))
    load = f"import pickle; print(pickle.load(open({str(file)!r}, 'rb')))"
    ended = subprocess.run([sys.executable, "-c", load], capture_output=True, check=False)
    assert ended.returncode < 0  # by a signal


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_dtypes_that_numpy_writes_are_clean(protocol):
    fields = [("a", "i4"), ("b", "O"), ("c", "f8", (2, 2)), ("d", "M8[ns]"), ("e", "U5")]
    values = [
        np.zeros(3, fields), np.rec.array([(1, "a")], dtype=[("x", "i4"), ("y", "O")]),
        np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True)), np.array(["abc", "d"]),
        np.array([1, "a", None], object), np.dtype(("i4", (3, 2))), np.zeros(2, "V5"),
        np.zeros(2, [("p", [("q", "O"), ("r", "f4")]), ("s", "S3")]), np.zeros(3, ">i4"),
        np.zeros(2, np.dtype({"names": ["a", "b"], "formats": ["i4"] * 2, "offsets": [0, 0]})),
        np.zeros(3, [("a", "i4"), ("b", "O"), ("c", "i8")])[["a", "c"]], np.str_("abc"),
    ]  # fmt: skip
    for value in values:
        assert scan_bytes(pickle.dumps(value, protocol)).reasons == []


TABLE = pd.DataFrame({"a": [1]})
WRITES = functools.partial(pd.DataFrame.to_json, TABLE, "never-written.json")
GRID = Made(ParameterGrid, {"param_grid": [Made(types.SimpleNamespace, {"values": WRITES})]})
LATER = {
    "method": FunctionTransformer(pd.DataFrame.to_pickle, kw_args={"path": "x"}),
    "method-of-series": FunctionTransformer(pd.Series.to_csv, kw_args={"path_or_buf": "x"}),
    "partial": FunctionTransformer(functools.partial(pd.DataFrame.to_json, path_or_buf="x")),
    "bound": FunctionTransformer(Reduced(getattr, pd.DataFrame, "eval"), kw_args={"expr": "1"}),
    "dump": FunctionTransformer(np.ndarray.dump, kw_args={"file": "x"}),
    "memmap": FunctionTransformer(functools.partial(np.memmap, "x", "uint8", "w+")),
    "memmap-itself": FunctionTransformer(np.memmap),
    "getattr": FunctionTransformer(functools.partial(getattr, LogisticRegression(), "fit")),
    "getattr-behind": {"steps": Made(FunctionTransformer, {**dict.fromkeys(range(99)),
                                                           "func": getattr})},
    "getattr-in-list": Made(FunctionTransformer, {"func": [*range(99), getattr]}),
    "reader": FunctionTransformer(functools.partial(_get_feature_importances, TABLE)),
    "iterated": Reduced(list, GRID), "iterated-tuple": Reduced(tuple, GRID),
    "iterated-index": Reduced(pd.core.indexes.base._new_Index, pd.Index, {"data": GRID}),
    "iterated-categories": Reduced(pd.CategoricalDtype, GRID, False),
    "property": Reduced(getattr, Made(Pipeline, {"steps": WRITES}), "named_steps"),
}  # fmt: skip


@pytest.mark.parametrize("key", sorted(LATER))
def test_what_is_called_later_or_by_iterating_is_not_clean(key):
    assert scan_bytes(pickle.dumps(LATER[key], 4)).verdict != "clean"


GENTLE = functools.partial(np.abs, 1)  # nothing in it is harmful but how it is reached
GENTLE_GRID = Made(ParameterGrid, {"param_grid": [Made(types.SimpleNamespace, {"values": GENTLE})]})


@pytest.mark.parametrize(
    "value",
    [
        Reduced(list, GENTLE_GRID), Reduced(frozenset, GENTLE_GRID), Reduced(bytes, GENTLE_GRID),
        Reduced(pd.CategoricalDtype, GENTLE_GRID, False),
        Reduced(pd.CategoricalDtype, [*range(99), GENTLE_GRID], False),
        Reduced(pd.CategoricalDtype, [[*range(99), GENTLE_GRID]], False),
        Reduced(pd.core.indexes.base._new_Index, pd.Index, {"data": [1], "name": GENTLE_GRID}),
        Reduced(getattr, Made(Pipeline, {"steps": GENTLE}), "named_steps"),
    ],
)  # fmt: skip
def test_an_object_that_calls_what_it_holds_is_not_handed_to_a_reader(value):
    assert scan_bytes(pickle.dumps(value, 4)).verdict == "review"


def test_memory_that_a_keyword_or_a_helper_asks_for_is_reported():
    size = b"\x8a\x06" + (1 << 40).to_bytes(6, "little")
    by_keyword = b"\x80\x04\x8c\x05numpy\x8c\x07ndarray\x93)}\x8c\x05shape" + size + b"s\x92."
    by_helper = b"\x80\x02ccopyreg\n__newobj__\n(cnumpy\nndarray\n" + size + b"tR."
    for data in (by_keyword, by_helper):
        pickletools.dis(data, out=io.StringIO())  # well formed
        assert scan_bytes(data).verdict == "review"


def test_functions_and_methods_of_everyday_pipelines_are_clean():
    steps = [
        FunctionTransformer(np.log1p), FunctionTransformer(np.sqrt, inverse_func=np.square),
        FunctionTransformer(functools.partial(np.clip, a_min=0, a_max=1)),
        FunctionTransformer(pd.DataFrame.to_numpy), FunctionTransformer(str.lower),
        FunctionTransformer(LogisticRegression().predict),
    ]  # fmt: skip
    pipeline = Pipeline([(f"step{i}", step) for i, step in enumerate(steps)])
    assert scan_bytes(pickle.dumps(pipeline)).reasons == []


NEW_BLOCK = pd.core.internals.blocks.new_block
VALUES, PLACES = np.zeros((1, 2)), slice(0, 1, 1)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_blocks_as_pandas_1_3_writes_them_are_clean(protocol):
    block = Reduced(functools.partial(NEW_BLOCK, ndim=2), VALUES, PLACES)
    assert scan_bytes(pickle.dumps(block, protocol)).reasons == []


@pytest.mark.parametrize(
    "value",
    [
        Reduced(functools.partial(NEW_BLOCK, VALUES, ndim=2), PLACES),
        Reduced(functools.partial(NEW_BLOCK, ndim=2, klass=pd.DataFrame), VALUES, PLACES),
        Reduced(functools.partial(NEW_BLOCK, klass=2), VALUES, PLACES),
        Reduced(functools.partial(NEW_BLOCK, ndim=VALUES), VALUES, PLACES),
        Reduced(functools.partial(NEW_BLOCK, ndim=2), GRID, PLACES),
        Reduced(functools.partial(NEW_BLOCK, ndim=2), GENTLE_GRID, PLACES),
        Reduced(functools.partial(np.abs), VALUES),
        Reduced(functools.partial(pd.read_pickle, ndim=2), "x"),
    ],
)
def test_no_other_partial_is_called_and_no_other_thing_is_a_block(value):
    assert scan_bytes(pickle.dumps(value, 4)).verdict != "clean"
