"""Reads the specifications of the verification competition: boxes of inputs, unsafe outputs.

Understood are conjunctions and one level of ``or`` of ``and`` over bounds of inputs and over
comparisons of outputs with each other or with numbers; anything else is refused.
"""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Case:
    """A box of inputs, and the sets of outputs that must not be reached from it.

    Each set is a pair (rows, limits): all of ``rows @ y <= limits``.
    """

    low: np.ndarray
    high: np.ndarray
    unsafe: tuple[tuple[np.ndarray, np.ndarray], ...]


def read(path: Path, inputs: int, outputs: int) -> list[Case]:
    """The cases of a file: unsafe if any of them is."""
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    terms = parse(re.sub(r";[^\n]*", "", text))
    # a disjunction of conjunctions of comparisons
    clauses = [[]]
    for term in terms:
        if term[0] != "assert":
            continue
        options = alternatives(term[1])
        clauses = [clause + option for clause in clauses for option in options]
    cases = {}
    for clause in clauses:
        low, high = np.full(inputs, -np.inf), np.full(inputs, np.inf)
        rows, limits = [], []
        for operator, left, right in clause:
            if operator not in ("<=", ">="):
                raise ValueError(f"{path}: {operator} is not understood")
            if operator == ">=":
                left, right = right, left
            if str(left).startswith("X_") and not str(right).startswith("X_"):
                i = int(left[2:])
                high[i] = min(high[i], float(right))
            elif str(right).startswith("X_") and not str(left).startswith("X_"):
                i = int(right[2:])
                low[i] = max(low[i], float(left))
            else:
                row, limit = np.zeros(outputs), 0.0
                for side, sign in ((left, 1.0), (right, -1.0)):
                    if side.startswith("Y_"):
                        row[int(side[2:])] += sign
                    else:
                        limit -= sign * float(side)
                rows.append(row)
                limits.append(limit)
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise ValueError(f"{path}: an input has no bounds")
        key = (low.tobytes(), high.tobytes())
        cases.setdefault(key, (low, high, []))[2].append((np.array(rows), np.array(limits)))
    return [Case(low, high, tuple(sets)) for low, high, sets in cases.values()]


def parse(text: str) -> list:
    """Nested lists of words."""
    stack = [[]]
    for word in re.findall(r"[()]|[^\s()]+", text):
        if word == "(":
            stack.append([])
        elif word == ")":
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(word)
    return stack[0]


def alternatives(term: list) -> list[list]:
    """A formula as alternatives, each a list of comparisons."""
    if term[0] == "or":
        return [option for part in term[1:] for option in alternatives(part)]
    if term[0] == "and":
        out = [[]]
        for part in term[1:]:
            out = [a + b for a in out for b in alternatives(part)]
        return out
    return [[tuple(term)]]
