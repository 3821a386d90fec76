"""Names that packages promise are there, and importing a package stays light."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

PACKAGES = (
    "crenel", "crenel.confidentiality", "crenel.evasion", "crenel.evasion.certify",
    "crenel.evasion.text", "crenel.online", "crenel.poisoning",
    "crenel.poisoning.influence",
    "crenel.poisoning.partition", "crenel.provenance", "crenel.training", "crenel.transfer",
    "crenel.transfer.hidden", "crenel.transfer.lineage",
)  # fmt: skip


@pytest.mark.parametrize("package", PACKAGES)
def test_every_promised_name_is_there_and_bears_its_name(package):
    pytest.importorskip("torch")
    module = importlib.import_module(package)
    assert module.__all__
    for name in module.__all__:
        found = getattr(module, name)
        assert getattr(found, "__name__", name) == name


@pytest.mark.parametrize("package", PACKAGES)
def test_a_name_that_is_not_there_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match=f"'{package}' has no attribute 'nothing'"):
        _ = importlib.import_module(package).nothing


def test_importing_every_package_loads_no_framework():
    heavy = ("torch", "sklearn", "xgboost", "numba", "pandas", "river")
    code = (
        f"import sys; [__import__(p) for p in {PACKAGES}]; print(set(sys.modules) & {set(heavy)})"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"
