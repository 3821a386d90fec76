"""Rules between the columns of a row: expressions, functions, derived columns, one-hot groups.

A constraint of a schema is one of

- an expression over column names, in the syntax of ``pandas.DataFrame.eval``: ``"start <= end"``;
- a function from a frame to one truth value for each row, or its name ``"module:function"``;
- a derived column, ``"ratio = a / b"``: true where the column holds what the formula gives, and
  written anew where ``a`` or ``b`` moves;
- a one-hot group, ``"one of red, green, blue"``: exactly one of the columns is 1, the others 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

#: What a constraint is given as.
Rule = str | Callable[[Any], Any]

_DERIVED = re.compile(r"^\s*(?:`([^`]+)`|([^\W\d]\w*))\s*=(?!=)\s*(.+?)\s*$", re.DOTALL)
_ONE_OF = re.compile(r"^\s*one of\s+(.+?)\s*$", re.DOTALL)
_FUNCTION = re.compile(r"^\s*[^\W\d][\w.]*:[^\W\d]\w*\s*$")
#: Relative and absolute tolerance of a derived number.
RELATIVE, ABSOLUTE = 1e-6, 1e-9
#: Rows on which the columns that a function reads are found out.
TRACED = 50


@dataclass(frozen=True)
class RowRule:
    """A constraint that is a function.

    Attributes
    ----------
    call : callable
        ``call(frame) -> (n,) bool``, one truth value for each row.
    columns : tuple of str
        The columns that it reads; empty where that is not known, which stands for all.
    """

    call: Callable[[Any], Any]
    columns: tuple[str, ...] = ()

    def __call__(self, x: Any) -> Any:
        """Truth of each row."""
        return self.call(x)


@dataclass(frozen=True)
class Derived:
    """A column that follows from others.

    Attributes
    ----------
    name, formula : str
    """

    name: str
    formula: str

    def inputs(self, names: Iterable[str]) -> tuple[str, ...]:
        """The columns among ``names`` that the formula reads."""
        return mentioned(self.formula, names)

    def values(self, x: pd.DataFrame) -> pd.Series[Any]:
        """What the formula gives for each row; infinite results are missing.

        Raises
        ------
        crenel.errors.UsageError
            Where the formula cannot be evaluated.
        """
        import pandas as pd

        rule = f"{self.name} = {self.formula}"
        found = pd.Series(_evaluated(self.formula, x, rule), index=x.index)
        return found.replace([np.inf, -np.inf], np.nan) if found.dtype.kind == "f" else found


def derived(rule: Rule) -> Derived | None:
    """The derived column that a rule declares, or None."""
    found = _DERIVED.match(rule) if isinstance(rule, str) else None
    return Derived(found[1] or found[2], found[3]) if found else None


def group(rule: Rule) -> tuple[str, ...]:
    """The columns of the one-hot group that a rule declares; empty where it declares none."""
    found = _ONE_OF.match(rule) if isinstance(rule, str) else None
    return tuple(n.strip().strip("`") for n in found[1].split(",")) if found else ()


def told(rule: Rule) -> str:
    """A rule as messages name it."""
    if isinstance(rule, str):
        return rule
    inner = rule.call if isinstance(rule, RowRule) else rule
    return str(getattr(inner, "__name__", type(inner).__name__))


def truth(rule: Rule, x: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether a rule is true of each row.

    Parameters
    ----------
    rule : str or callable
        Any form of constraint; a name ``"module:function"`` must have been loaded before.
    x : pandas.DataFrame, n rows

    Returns
    -------
    ndarray, shape (n,), bool

    Raises
    ------
    crenel.errors.UsageError
        Where it cannot be evaluated or does not give one truth value for each row.
    """
    formula, members = derived(rule), group(rule)
    if formula is not None:
        _present((formula.name,), x, rule)
        return same(x[formula.name], formula.values(x))
    if members:
        _present(members, x, rule)
        hot = np.column_stack([np.asarray(x[m] == 1, dtype=bool) for m in members])
        cold = np.column_stack([np.asarray(x[m] == 0, dtype=bool) for m in members])
        return np.asarray((hot.sum(axis=1) == 1) & (hot | cold).all(axis=1), dtype=bool)
    answer = _evaluated(rule, x, rule) if isinstance(rule, str) else _called(rule, x)
    found = np.asarray(answer)
    if found.shape != (len(x),) or (found.dtype.kind != "b" and not _booleans(found)):
        raise UsageError(
            f"constraints: {told(rule)!r} is not true or false of each row; compare columns, "
            'such as "start <= end"'
        )
    return found.astype(bool)


def same(a: pd.Series[Any], b: pd.Series[Any]) -> NDArray[np.bool_]:
    """Where two columns agree, numbers up to rounding; missing agrees with missing."""
    import pandas as pd

    gaps, holes = a.isna().to_numpy(), b.isna().to_numpy()
    if a.dtype.kind in "iuf" and b.dtype.kind in "iufb":
        p, q = (np.asarray(pd.to_numeric(c), dtype=np.float64) for c in (a, b))
        close = np.isclose(p, q, rtol=RELATIVE, atol=ABSOLUTE)
    else:
        one, two = a.astype(object).tolist(), b.astype(object).tolist()
        known = ~(gaps | holes)
        close = np.array([bool(k and p == q) for k, p, q in zip(known, one, two)], dtype=bool)
    return np.asarray((gaps & holes) | (~gaps & ~holes & close), dtype=bool)


def reads(rule: Rule, names: Sequence[str]) -> tuple[str, ...]:
    """The columns among ``names`` that a rule speaks of; all of them where that is not known."""
    if isinstance(rule, RowRule):
        return tuple(n for n in names if n in rule.columns) if rule.columns else tuple(names)
    if not isinstance(rule, str) or _FUNCTION.match(rule):
        return tuple(names)
    members = group(rule)
    return tuple(n for n in names if n in members) if members else mentioned(rule, names)


def mentioned(text: str, names: Iterable[str]) -> tuple[str, ...]:
    """The columns that an expression names, as identifiers or in backticks."""
    quoted = set(re.findall(r"`([^`]+)`", text))
    words = set(re.findall(r"[^\W\d]\w*", re.sub(r"`[^`]*`|'[^']*'|\"[^\"]*\"", " ", text)))
    return tuple(n for n in names if n in quoted or n in words)


def checked(rules: Sequence[Rule], rows: pd.DataFrame) -> tuple[Rule, ...]:
    """The rules after a trial on some rows, with functions told which columns they read.

    Raises
    ------
    crenel.errors.UsageError
        Where a rule cannot be read, names no column or is not true or false of each row.
    """
    some = rows.head(TRACED)
    for rule in rules:
        truth(rule, some)
    return tuple(r if isinstance(r, str) else _traced(r, some) for r in rules)


def loaded(rules: Sequence[Rule], root: Path) -> tuple[Rule, ...]:
    """The rules with every ``"module:function"`` imported; this runs the user's own code.

    Raises
    ------
    crenel.errors.UsageError
        Where there is no such module or function.
    """
    from crenel.adapters.modules import resolve_callable

    return tuple(
        RowRule(resolve_callable(rule.strip(), root, "constraints"))
        if isinstance(rule, str) and _FUNCTION.match(rule)
        else rule
        for rule in rules
    )


def _traced(rule: Callable[[Any], Any], rows: pd.DataFrame) -> RowRule:
    """A function with the columns without which it fails or answers otherwise."""
    if isinstance(rule, RowRule) and rule.columns:
        return rule
    inner = rule.call if isinstance(rule, RowRule) else rule
    answer, read = truth(rule, rows), []
    for name in rows.columns:
        try:
            needless = np.array_equal(truth(inner, rows.drop(columns=name)), answer)
        except UsageError:
            needless = False
        if not needless:
            read.append(str(name))
    return RowRule(inner, tuple(read))


def _evaluated(text: str, x: pd.DataFrame, rule: str) -> Any:
    if _FUNCTION.match(text):
        raise UsageError(
            f"constraints: {rule!r} names a function, which is loaded with the target only; "
            "give the function itself here"
        )
    try:
        return x.eval(text, engine="python")
    except Exception as e:  # whatever the user's expression raises is told in one sentence
        reason = str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__
        raise UsageError(
            f"constraints: {rule!r} cannot be read: {reason}; "
            "write it over column names, as pandas.DataFrame.eval takes it"
        ) from e


def _called(rule: Callable[[Any], Any], x: pd.DataFrame) -> Any:
    try:
        return rule(x)
    except Exception as e:  # whatever the user's function raises is told in one sentence
        reason = str(e).strip().splitlines()[0] if str(e).strip() else ""
        raise UsageError(
            f"constraints: {told(rule)!r} failed on the table ({type(e).__name__}: {reason}); "
            "it must take a frame and give one truth value for each row"
        ) from e


def _booleans(found: NDArray[Any]) -> bool:
    """Whether an array of objects holds truth values only, such as pandas' own."""
    return found.dtype == object and all(isinstance(v, (bool, np.bool_)) for v in found.tolist())


def _present(names: Sequence[str], x: pd.DataFrame, rule: Rule) -> None:
    for name in names:
        if name not in x.columns:
            raise UsageError(
                f"constraints: {told(rule)!r} speaks of {name!r}, which is no column of the table"
            )
