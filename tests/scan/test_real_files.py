"""Real files that others made: clean, or unreadable with the reason where no reader exists."""

from __future__ import annotations

from pathlib import Path

import pytest

from crenel.scan import scan_paths

DATA = Path(__file__).parents[2] / "../shared/data"
FOLDERS = {
    "07_clamp_malware": {"joblib", "text"},
    "12_vnncomp2021/mnistfc": {"onnx", "text", "text+gzip"},
    "12_vnncomp2021/acasxu": {"onnx", "text", "text+gzip"},
    "12_vnncomp2021/cifar10_resnet/onnx": {"onnx"},
    "12_vnncomp2021/cifar10_resnet/pytorch_model": {"torch-legacy", "torch-zip"},
    "13_groot_trees/trees": {"json"},
    "15_advertorch_mnist": {"torch-legacy", "torch-zip"},
    "16_nad_backdoored_cifar": {"torch-legacy", "torch-zip", "text"},
    "17_real_pickled_models": {"joblib", "pickle", "npz", "torch-zip", "torch-legacy"},
}


@pytest.mark.parametrize("folder", sorted(FOLDERS))
def test_real_files_are_clean(folder):
    place = DATA / folder
    if not place.exists():
        pytest.skip(f"{folder} is not at hand")
    results = scan_paths([place])
    assert results
    bad = {r.path: [(x.code, x.call, x.sentence) for x in r.reasons] for r in results if r.reasons}
    assert not bad
    assert {r.format for r in results} <= FOLDERS[folder]


def test_old_xgboost_files_name_the_way_out():
    place = DATA / "14_xgb_random_forests"
    if not place.exists():
        pytest.skip("the old XGBoost files are not at hand")
    results = scan_paths(sorted(place.glob("*.model")))
    assert results
    assert all(r.verdict == "unreadable" and ".ubj" in r.reasons[0].sentence for r in results)
    assert all(r.verdict == "clean" for r in scan_paths(sorted(place.glob("*.ubj"))))
