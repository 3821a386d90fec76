"""Constraints in every form, against truth written out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crenel.data import infer_schema
from crenel.data.constraints import RowRule, checked, derived, group, loaded, reads, truth
from crenel.errors import UsageError

FRAME = pd.DataFrame(
    {
        "start": [1, 5, 3, 4],
        "end": [2, 4, 3, 9],
        "due date": [1.0, 2.0, np.nan, 4.0],
        "red": [1, 0, 1, 0],
        "blue": [0, 1, 1, 0],
        "ratio": [0.5, 1.25, 1.0, 0.4],
        "word": ["a", "b", "a", None],
    }
)


def early(x: pd.DataFrame) -> pd.Series:
    return x["start"] < 4


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("start <= end", [True, False, True, True]),
        ("`due date` > 1", [False, True, False, True]),
        ("word == 'a' or start > 4", [True, True, True, False]),
        ("one of red, blue", [True, True, False, False]),
        ("ratio = start / end", [True, True, True, False]),
        (early, [True, False, True, False]),
    ],
)
def test_each_form(rule: object, expected: list[bool]) -> None:
    assert truth(rule, FRAME).tolist() == expected


def test_what_a_rule_declares_and_reads() -> None:
    names = tuple(FRAME.columns)
    assert derived("ratio = start / end").inputs(names) == ("start", "end")
    assert derived("`due date` = start + 1").name == "due date"
    for no in ("start == end", "start <= end", "start != end", "start >= end"):
        assert derived(no) is None
    assert group("one of `red`, blue") == ("red", "blue")
    assert reads("one of red, blue", names) == ("red", "blue")
    assert reads("ratio = start / end", names) == ("start", "end", "ratio")
    assert reads(early, names) == names


def test_the_columns_that_a_function_reads_are_found() -> None:
    rules = checked([early, lambda x: x.get("end", pd.Series(0, x.index)) > 3], FRAME)
    assert [r.columns for r in rules] == [("start",), ("end",)]
    assert truth(rules[0], FRAME).tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("nonsense > 1", "cannot be read"),
        ("start + 1", "is not true or false of each row"),
        ("one of red, green", "'green', which is no column"),
        ("total = start + end", "'total', which is no column"),
        ("rules:legal", "names a function"),
        (lambda x: x["lost"] > 1, "KeyError"),
        (lambda x: True, "is not true or false of each row"),
        (lambda x: x["start"], "is not true or false of each row"),
    ],
)
def test_what_cannot_be_a_rule_is_told_in_one_sentence(rule: object, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        infer_schema(FRAME, constraints=[rule])
    assert "\n" not in str(caught.value)


def test_a_function_by_name_is_loaded_from_the_folder_of_the_target(tmp_path: Path) -> None:
    (tmp_path / "own_rules_of_test.py").write_text("def legal(x):\n    return x['start'] < 4\n")
    rules = loaded(["start <= end", "own_rules_of_test:legal"], tmp_path)
    assert rules[0] == "start <= end"
    assert isinstance(rules[1], RowRule)
    assert truth(rules[1], FRAME).tolist() == [True, False, True, False]
    with pytest.raises(UsageError):
        loaded(["own_rules_of_test:missing"], tmp_path)


def test_a_target_takes_functions_by_name_and_as_such(tmp_path: Path) -> None:
    from crenel.data import load_target
    from crenel.target import Target

    (tmp_path / "own_rules_of_target.py").write_text("def legal(x):\n    return x['a'] <= 30\n")
    x = pd.DataFrame({"a": np.arange(30), "b": np.arange(30) % 7})
    y = np.arange(30) % 2
    target = Target(
        test=(x, y), constraints=["own_rules_of_target:legal", lambda f: f["b"] < 9, "b <= 6"]
    )
    schema = load_target(target, root=tmp_path).schema
    assert schema is not None
    assert [reads(r, ("a", "b")) for r in schema.constraints] == [("a",), ("b",), ("b",)]
    assert all(truth(r, x).all() for r in schema.constraints)
