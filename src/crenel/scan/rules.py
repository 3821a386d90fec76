"""Argument rules: which shapes of arguments a listed callable may be called with.

A rule gets the arguments and a function that tells whether a name is listed as a class, and
returns the kind of the result, ``""`` for the entry's own, or None where the shape is not allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from crenel.scan.policy import Policy
from crenel.scan.values import KEPT, Bulk, Global, Instance, Items, Mapping, is_constant

Args = tuple[object, ...]
Rule = Callable[[Args, Policy], str | None]

BASES = {"object", "dict", "list", "set", "tuple", "int", "float", "str", "bytes"}
FACTORIES = {"builtins.list", "builtins.dict", "builtins.int", "builtins.float", "builtins.set",
             "builtins.str", "builtins.bool", "builtins.tuple", "collections.OrderedDict",
             "collections.Counter"}  # fmt: skip
DTYPE_CODE = re.compile(r"[<>|=]?(?:[?bhilqpBHILQPefdgFDGSUVOMm]|[biufcSUVOMm]\d{1,9})(?:\[.+\])?")
DTYPE_NAMES = re.compile(r"(?:u?int|float|complex)\d+|bool|object|str|bytes|datetime64|timedelta64")
MAX_EMPTY = 1 << 24
#: Classes that take the memory that a number asks for.
ALLOCATORS = frozenset({
    "builtins.bytes", "builtins.bytearray", "numpy.ndarray", "numpy.recarray", "numpy.matrix",
    "numpy.ma.MaskedArray", "numpy.ma.core.MaskedArray",
})  # fmt: skip
#: Classes whose ``__new__`` reads its arguments, so that it iterates over them or converts them.
CONSUMERS = re.compile(
    r"builtins\.(?:tuple|frozenset|int|float|complex|str|bytes|bytearray)|pandas\..+|"
    r"numpy\.(?!random\.).+"
)
#: Kinds that are data: what they do when they are read or iterated over is not in their state.
#: An object of another class may call what its attributes hold (scikit-learn's ParameterGrid).
DATA = re.compile(
    r"(?:numpy|collections|builtins|datetime|decimal|fractions|pyarrow|re|uuid|pathlib)\..+|"
    r"torch\.(?:nn\.parameter\..+|(?!nn\.|optim\.).+)|"
    r"pandas\.(?!core\.(?:groupby|window|resample|apply|interchange|strings|accessor)\.).+"
)
#: Methods that real files hold bound to an object. Any other attribute may be a property, which
#: runs code over the state of its object as soon as it is read.
METHODS = frozenset({
    "predict", "predict_proba", "predict_log_proba", "decision_function", "transform",
    "inverse_transform", "fit", "fit_transform", "fit_predict", "partial_fit", "score",
    "score_samples", "forward", "predict_one", "predict_proba_one", "score_one", "transform_one",
    "get_feature_names_out", "random", "rand", "randn", "randint", "integers", "choice", "normal",
    "uniform", "standard_normal", "permutation", "shuffle", "lower", "upper", "casefold", "strip",
    "lstrip", "rstrip", "split", "rsplit", "splitlines", "title", "capitalize", "get", "toarray",
    "todense", "to_numpy", "astype",
})  # fmt: skip


def _class(value: object, policy: Policy) -> str | None:
    """Return the kind of a listed class that may be made by ``__new__``, or None."""
    if isinstance(value, Global):
        entry = policy.entry(value.module, value.name)
        if entry is not None and entry.new:
            return f"{value.module}.{value.name}"
    return None


def listed(value: object, policy: Policy) -> bool:
    """Tell whether a value is a name on the allowlist."""
    return isinstance(value, Global) and policy.entry(value.module, value.name) is not None


def vouched(value: object, depth: int = 8) -> bool:
    """Tell whether a value is data throughout, so that reading it calls nothing of its own."""
    if isinstance(value, Instance):
        return not value.flagged and bool(DATA.fullmatch(value.kind))
    if not depth:
        return False
    if isinstance(value, (tuple, list)):
        return all(vouched(item, depth - 1) for item in value)
    if isinstance(value, Items):
        return value.plain and all(vouched(item, depth - 1) for item in value.items)
    if isinstance(value, Mapping):
        return value.length <= KEPT and all(vouched(v, depth - 1) for _, v in value.items)
    return True


def _any(args: Args, policy: Policy) -> str | None:
    return ""


def _data(args: Args, policy: Policy) -> str | None:
    """Constants, names and data, in containers too."""
    return "" if vouched(args) else None


def _none(args: Args, policy: Policy) -> str | None:
    return "" if not args else None


def _constants(args: Args, policy: Policy) -> str | None:
    return "" if all(map(is_constant, args)) else None


def _strings(args: Args, policy: Policy) -> str | None:
    return "" if all(isinstance(arg, str) for arg in args) else None


def _pairs(args: Args, policy: Policy) -> str | None:
    """Nothing, or one list of pairs with constant keys: a string here is the mark of shadowing."""
    if not args:
        return ""
    only = args[0]
    if len(args) == 1 and isinstance(only, Items) and only.pairs:
        return ""
    return "" if len(args) == 1 and isinstance(only, Mapping) and not only.dunders else None


def _latin1(args: Args, policy: Policy) -> str | None:
    text, codec = args if len(args) == 2 else (None, None)
    fine = codec in ("latin1", "latin-1") and isinstance(text, (str, Bulk))
    return "" if fine else None


def _bytes(args: Args, policy: Policy) -> str | None:
    """Copies of what is there; an integer would ask for that much memory."""
    kinds = (bytes, str, Bulk, Instance)
    return "" if all(isinstance(arg, kinds) and vouched(arg) for arg in args) else None


def _factory(args: Args, policy: Policy) -> str | None:
    if not args or args[0] is None:
        return ""
    first = args[0]
    known = isinstance(first, Global) and f"{first.module}.{first.name}" in FACTORIES
    # A partial was judged when it was made: it holds a name on the allowlist.
    known = known or (isinstance(first, Instance) and first.kind == "functools.partial")
    known = known and not _flagged(first)
    return "" if known and len(args) <= 2 else None


def _partial(args: Args, policy: Policy) -> str | None:
    return "" if args and listed(args[0], policy) and not any(map(_flagged, args)) else None


def _flagged(value: object) -> bool:
    return isinstance(value, Instance) and value.flagged


def _method(args: Args, policy: Policy) -> str | None:
    """``getattr`` of a known method of a listed class or its instance."""
    name = read_attribute(args, policy)
    return "" if name is not None and name.rpartition(".")[2] in METHODS else None


def read_attribute(args: Args, policy: Policy) -> str | None:
    """Return the path of what ``getattr`` reads of a listed class or its instance, or None."""
    if len(args) != 2 or not isinstance(args[1], str) or args[1].startswith("__"):
        return None
    owner = args[0]
    if isinstance(owner, Instance) and not owner.flagged:
        entry = policy.kind(owner.kind)
        kind = owner.kind if entry is not None and entry.new else None
    else:
        kind = _class(owner, policy)
    return f"{kind}.{args[1]}" if kind else None


def _class_first(args: Args, policy: Policy) -> str | None:
    kind = _class(args[0], policy) if args else None
    return kind if kind is not None and makes(kind, args[1:], None) else None


def makes(path: str, args: Args, kwargs: object) -> bool:
    """Tell whether making an object of a listed class by ``__new__`` does no more than that."""
    if kwargs is not None and path in ALLOCATORS:
        return False
    consumed = bool(CONSUMERS.fullmatch(path))
    return not fills_memory(path, args) and (not consumed or vouched((args, kwargs)))


def _reconstructor(args: Args, policy: Policy) -> str | None:
    if len(args) != 3 or not isinstance(args[1], Global) or not vouched(args[2]):
        return None
    if args[1].name == "bytes" and isinstance(args[2], int):
        return None
    plain = args[1].module == "builtins" and args[1].name in BASES
    return _class(args[0], policy) if plain else None


def _array(args: Args, policy: Policy) -> str | None:
    """``_reconstruct(ndarray, (0,), b"b")``: a listed subclass and a small shape."""
    if len(args) != 3 or not listed(args[0], policy) or not isinstance(args[1], tuple):
        return None
    count = 1
    for size in args[1]:
        if not isinstance(size, int):
            return None
        count *= max(size, 1)
    return "" if count <= MAX_EMPTY else None


def fills_memory(path: str, args: Args) -> bool:
    """Whether a new object of a listed class asks for memory by a number alone."""
    if path not in ALLOCATORS or not args:
        return False
    sizes = args[0] if isinstance(args[0], tuple) else (args[0],)
    count = 1
    for size in sizes:
        count *= max(size, 1) if isinstance(size, int) else 1
    return count > MAX_EMPTY


def _dtype(args: Args, policy: Policy) -> str | None:
    if not args:
        return None
    first = args[0]
    if isinstance(first, str):
        known = DTYPE_CODE.fullmatch(first) or DTYPE_NAMES.fullmatch(first)
        return "" if known and all(map(is_constant, args)) else None
    return "" if listed(first, policy) and len(args) <= 3 else None


def _none_type(args: Args, policy: Policy) -> str | None:
    return "" if args == (None,) else None


def _rebuild(args: Args, policy: Policy) -> str | None:
    """Tensor subclasses: a listed rebuild function, a listed type, arguments and a state."""
    if len(args) != 4 or not isinstance(args[0], Global) or not listed(args[1], policy):
        return None
    entry = policy.entry(args[0].module, args[0].name)
    known = args[0].module == "torch._utils" and entry is not None and bool(entry.call)
    state = args[3]
    clean = not (isinstance(state, Mapping) and state.dunders)
    return "" if known and clean else None


def _listed_all(args: Args, policy: Policy) -> str | None:
    """Constants, listed names and data; not a range, which fills the memory."""
    fine = all(
        is_constant(arg)
        or listed(arg, policy)
        or (isinstance(arg, Instance) and vouched(arg) and arg.kind != "builtins.range")
        for arg in args
    )
    return "" if fine else None


RULES: dict[str, Rule] = {
    "any": _any, "data": _data, "none": _none, "constants": _constants, "strings": _strings,
    "pairs": _pairs,
    "latin1": _latin1, "bytes": _bytes, "factory": _factory, "partial": _partial,
    "method": _method, "class_first": _class_first, "reconstructor": _reconstructor,
    "array": _array, "dtype": _dtype, "none_type": _none_type, "rebuild": _rebuild,
    "listed_all": _listed_all, "nested": _bytes,
}  # fmt: skip
