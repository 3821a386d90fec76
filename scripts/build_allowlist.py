"""Generate src/crenel/scan/allowlist.json by looking into the installed libraries.

Run ``python scripts/build_allowlist.py`` in an environment with every extra. A class is listed if
making it by ``__new__`` and setting its state runs no Python code but what is named in the three
VETTED sets below, which a person has read, and if it has no other finaliser. What is skipped for
that reason is printed, for the next reader. Distributions of scipy.stats stay out: their
``__setstate__`` runs ``exec`` on text from the state.
"""

from __future__ import annotations

import enum
import importlib
import importlib.metadata
import inspect
import json
import pkgutil
import sys
import types
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

OUT = Path(__file__).parents[1] / "src" / "crenel" / "scan" / "allowlist.json"
PACKAGES: dict[str, tuple[str, ...]] = {
    "sklearn": (),
    "xgboost": ("xgboost.core", "xgboost.sklearn", "xgboost.compat"),
    "lightgbm": ("lightgbm.basic", "lightgbm.sklearn", "lightgbm.compat", "lightgbm.callback"),
    "pandas": ("pandas.core", "pandas._libs", "pandas.tseries"),
    "scipy": ("scipy.sparse", "scipy.interpolate", "scipy.spatial", "scipy.special"),
    "torch": ("torch.nn.modules", "torch.nn.parameter", "torch.nn.utils", "torch.optim"),
    "numpy": ("numpy.random", "numpy.dtypes"),
    "river": (),
}
SKIPPED = (
    ".tests", ".testing", "._testing", ".conftest", ".datasets", ".externals", ".setup", ".dask",
    ".spark", ".computation", ".io", ".estimator_checks", ".distributed", ".plotting", ".stream",
    "._repr_html", ".callback", "._show_versions",
)  # fmt: skip
REFERENCES = (
    "sklearn.metrics", "sklearn.feature_selection", "sklearn.cluster", "sklearn.preprocessing",
    "sklearn.neighbors", "sklearn.linear_model", "sklearn.decomposition",
    "sklearn.kernel_approximation", "torch.nn.functional",
)  # fmt: skip
# Private functions that call a function, or read an attribute, that they are given by name: in a
# chain of a Pipeline's steps they are all that is needed to reach any other function.
CALLS = {
    "_get_feature_importances", "_pairwise_callable", "_cached_call", "_average_binary_score",
    "_average_multiclass_ovo_score", "_parallel_pairwise", "_rfe_single_fit",
    "_transposed_dist_wrapper", "_get_weights", "_query_include_self",
}  # fmt: skip
VETTED_SETSTATE = {
    "sklearn.base", "sklearn.ensemble", "sklearn.isotonic", "sklearn.utils._bunch", "dataclasses",
    "torch.nn.modules", "torch._tensor", "torch.optim", "xgboost.core", "lightgbm.basic",
    "pandas.core", "scipy.interpolate", "scipy.spatial", "scipy.sparse", "river.preprocessing",
}  # fmt: skip
VETTED_NEW = {
    "enum", "pandas.core", "pandas._libs", "sklearn.utils.deprecation",
    "sklearn.gaussian_process.kernels",
}  # fmt: skip
VETTED_DEL = {"xgboost.core.Booster.__del__", "lightgbm.basic.Booster.__del__"}


def within(module: str | None, homes: set[str] | tuple[str, ...]) -> bool:
    """Tell whether a module is one of some homes or inside one."""
    return module is not None and any((module + ".").startswith(home + ".") for home in homes)


def modules(package: str, homes: tuple[str, ...]) -> Iterator[types.ModuleType]:
    """Import and yield the modules of a package that lie in the given homes."""
    root = importlib.import_module(package)
    yield root
    for found in pkgutil.walk_packages(root.__path__, package + ".", onerror=lambda name: None):
        name = found.name
        if any(f"{skip}." in f"{name}." for skip in SKIPPED):
            continue
        if homes and not within(name, homes) and not any(h.startswith(name + ".") for h in homes):
            continue
        try:
            yield importlib.import_module(name)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - optional parts do not import
            print(f"not imported: {name}: {error}", file=sys.stderr)


def python_method(cls: type, name: str) -> types.FunctionType | None:
    """Return a class's method if it is written in Python."""
    for base in cls.__mro__:
        found = vars(base).get(name)
        if found is not None:
            plain = found.__func__ if isinstance(found, (staticmethod, classmethod)) else found
            return plain if isinstance(plain, types.FunctionType) else None
    return None


def refused(cls: type) -> str:
    """Return why a class is not listed, or an empty string."""
    for name, vetted in (
        ("__new__", VETTED_NEW), ("__setstate__", VETTED_SETSTATE), ("__del__", VETTED_DEL),
    ):  # fmt: skip
        method = python_method(cls, name)
        if method is None or (method.__module__ or "").startswith("namedtuple_"):
            continue
        if not within(f"{method.__module__}.{method.__qualname__}", vetted):
            return f"{name} of {method.__module__}"
    return "is a metaclass" if issubclass(cls, type) else ""


def file_class(groups: dict[str, dict[str, set[str]]], module: str, name: str, cls: type) -> None:
    """Put a class into the groups that fit it."""
    if issubclass(cls, enum.Enum):
        groups["enums"][module].add(name)
        return
    why = refused(cls)
    if why:
        print(f"skipped: {module}.{name}: {why}")
        return
    group = "containers" if issubclass(cls, (dict, list, set)) else "classes"
    heap_type = 1 << 9
    if within(module, ("sklearn",)) and not cls.__flags__ & heap_type:
        group = "extensions"
    groups[group][module].add(name)


def file_module(groups: dict[str, dict[str, set[str]]], module: types.ModuleType) -> None:
    """Put what a module defines into the groups."""
    home = module.__name__
    for name, value in list(vars(module).items()):
        defined = getattr(value, "__module__", None) == home
        if isinstance(value, type) and defined and value.__name__ == name:
            file_class(groups, home, name, value)
        elif name.startswith("__pyx_unpickle_") and home.startswith("sklearn."):
            groups["unpicklers"][home].add(name)
        elif inspect.isroutine(value) and defined and within(home, REFERENCES) and kept(name):
            groups["references"][home].add(name)


def kept(name: str) -> bool:
    """Tell whether models may hold a function: it calls and reads nothing that it is given."""
    return not name.startswith("__") and name not in CALLS


def ufuncs(groups: dict[str, dict[str, set[str]]]) -> None:
    """List numpy's and scipy.special's universal functions and numpy's scalar types."""
    import numpy as np
    import scipy.special

    for home, module in (("numpy", np), ("scipy.special", scipy.special)):
        for name, value in vars(module).items():
            if isinstance(value, np.ufunc):
                groups["references"][home].add(name)
                groups["references"][f"{home}._ufuncs" if home != "numpy" else home].add(name)
            elif isinstance(value, type) and issubclass(value, np.generic):
                groups["extensions"][home].add(name)


def main() -> None:
    """Write the data file."""
    warnings.simplefilter("ignore")
    groups: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for package, homes in PACKAGES.items():
        for module in modules(package, homes):
            if not homes or within(module.__name__, homes):
                file_module(groups, module)
    ufuncs(groups)
    data = {
        "about": "Generated by scripts/build_allowlist.py; do not edit.",
        "versions": {
            name: importlib.metadata.version({"sklearn": "scikit-learn", "xgboost": "xgboost-cpu"}
                                             .get(name, name))
            for name in sorted(PACKAGES)
        },
        "groups": {
            group: {home: sorted(names) for home, names in sorted(homes.items())}
            for group, homes in sorted(groups.items())
        },
    }  # fmt: skip
    OUT.write_text(json.dumps(data, indent=0) + "\n", "utf-8")
    total = sum(len(n) for homes in groups.values() for n in homes.values())
    print(f"{total} names written", file=sys.stderr)


if __name__ == "__main__":
    main()
