"""7z, lz4 and zstd: what they hold is scanned, and a missing reader is never silence."""

from __future__ import annotations

import io
import os
import pickle
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crenel.scan import Verdict, scan_bytes, scan_file


class Payload:
    def __reduce__(self):
        return os.system, ("true",)


HARMFUL, PLAIN = pickle.dumps(Payload()), pickle.dumps({"weights": [1.0, 2.0]})


def packed(members: dict[str, bytes], **options: object) -> bytes:
    py7zr = pytest.importorskip("py7zr")
    buffer = io.BytesIO()
    with py7zr.SevenZipFile(buffer, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(data, name)
    return buffer.getvalue()


# --- 7z ------------------------------------------------------------------------------------------


def test_members_of_a_7z_are_scanned():
    clean = scan_bytes(packed({"a/model.pkl": PLAIN, "b.pkl": PLAIN}), "models.7z")
    assert (clean.format, clean.verdict) == ("7z", Verdict.CLEAN)
    harmful = scan_bytes(packed({"a/model.pkl": PLAIN, "b.pkl": HARMFUL}), "models.7z")
    assert harmful.verdict is Verdict.MALICIOUS
    assert harmful.reasons[0].member == "b.pkl"


def test_members_of_one_name_are_all_scanned():
    py7zr = pytest.importorskip("py7zr")
    buffer = io.BytesIO()
    with py7zr.SevenZipFile(buffer, "w") as archive:
        archive.writestr(HARMFUL, "model.pkl")
        archive.writestr(PLAIN, "model.pkl")
    assert scan_bytes(buffer.getvalue(), "m.7z").verdict is Verdict.MALICIOUS


def written(*members: tuple[str, bytes], attributes: int | None = None) -> bytes:
    """A 7z archive; the attributes are those of its last member."""
    py7zr = pytest.importorskip("py7zr")
    buffer = io.BytesIO()
    with py7zr.SevenZipFile(buffer, "w") as archive:
        for name, data in members:
            archive.writestr(data, name)
        if attributes is not None:
            archive.header.files_info.files[-1]["attributes"] = attributes
    return buffer.getvalue()


def test_a_name_that_py7zr_makes_of_another_hides_nothing():
    """It calls the second model.pkl model.pkl_0, as another member is called."""
    longer = pickle.dumps(list(range(1000)))
    data = written(("model.pkl_0", HARMFUL), ("model.pkl", PLAIN), ("model.pkl", longer))
    assert scan_bytes(data, "m.7z").verdict is Verdict.MALICIOUS


@pytest.mark.parametrize("attributes", [0xA1FF8400, 0x41ED8010, 0x10])
def test_a_member_that_passes_for_a_link_or_a_folder_is_not_clean(attributes):
    data = written(("a.txt", b"text"), ("model.pkl", HARMFUL), attributes=attributes)
    assert scan_bytes(data, "m.7z").verdict is not Verdict.CLEAN


def test_what_follows_a_7z_is_for_review():
    data = written(("a.pkl", PLAIN))
    assert scan_bytes(data + bytes(100), "m.7z").verdict is Verdict.CLEAN
    assert scan_bytes(data + HARMFUL, "m.7z").verdict is Verdict.REVIEW


def test_names_and_links_that_leave_the_folder_are_dangerous(tmp_path, monkeypatch):
    py7zr = pytest.importorskip("py7zr")
    with monkeypatch.context() as m:
        m.setattr("py7zr.py7zr.check_archive_path", lambda name: True)
        data = packed({"../../x.py": b"text", "model.pkl": HARMFUL})
    result = scan_bytes(data, "m.7z")
    assert {r.code for r in result.reasons} >= {"path-traversal"}
    assert result.verdict is Verdict.MALICIOUS  # the other member was read
    link = tmp_path / "weights.bin"
    link.symlink_to(os.path.relpath("/etc/passwd", tmp_path))
    with py7zr.SevenZipFile(tmp_path / "l.7z", "w") as archive:
        archive.write(link, "weights.bin")
    monkeypatch.chdir(tmp_path)
    assert scan_file(tmp_path / "l.7z").verdict is Verdict.DANGEROUS


def test_nothing_is_written_beside_or_into_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scan_bytes(packed({"a/model.pkl": PLAIN}), "m.7z")
    assert not list(tmp_path.iterdir())


def test_an_encrypted_7z_is_unreadable():
    result = scan_bytes(packed({"model.pkl": PLAIN}, password="x"), "m.7z")
    assert (result.verdict, result.reasons[0].code) == (Verdict.UNREADABLE, "encrypted")


def test_a_7z_that_expands_without_end_or_asks_for_much_memory_is_over_budget(monkeypatch):
    bomb = packed({"zeros.bin": bytes(40 << 20)})
    monkeypatch.setattr("crenel.scan.scanner.Budget", lambda: _small())
    assert "over-budget" in [r.code for r in scan_bytes(bomb, "m.7z").reasons]
    monkeypatch.undo()
    monkeypatch.setattr("crenel.scan.formats.sevenzip.DICTIONARY", 1 << 10)
    assert [r.code for r in scan_bytes(bomb, "m.7z").reasons] == ["over-budget"]


def _small():
    from crenel.scan.source import Budget

    return Budget(expanded=1 << 20)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 400), st.integers(0, 255), st.integers(1, 400))
def test_a_changed_7z_ends_in_a_verdict(place, value, length):
    data = bytearray(packed({"a.pkl": HARMFUL, "b.pkl": PLAIN}))
    data[place % len(data)] = value
    result = scan_bytes(bytes(data[: max(12, len(data) - length % 40)]), "m.7z")
    assert result.verdict is not Verdict.CLEAN


# --- lz4 and zstd --------------------------------------------------------------------------------


def test_what_joblib_packs_with_lz4_is_scanned(tmp_path):
    pytest.importorskip("lz4")
    joblib.dump({"w": np.arange(9.0)}, tmp_path / "m.joblib", compress="lz4")
    assert scan_file(tmp_path / "m.joblib").verdict is Verdict.CLEAN
    joblib.dump([Payload()], tmp_path / "h.joblib", compress="lz4")
    result = scan_file(tmp_path / "h.joblib")
    assert (result.format, result.verdict) == ("pickle+lz4", Verdict.MALICIOUS)


@pytest.mark.parametrize("kind", ["lz4", "zstd"])
def test_streams_of_several_frames_are_read_to_the_end_and_cut_ones_are_no_silence(kind):
    compress = _compressor(kind)
    both = compress(PLAIN[:20]) + compress(PLAIN[20:])
    assert scan_bytes(both, "m").verdict is Verdict.CLEAN
    hidden = compress(HARMFUL)
    assert scan_bytes(hidden, "m").verdict is Verdict.MALICIOUS
    assert scan_bytes(hidden[:-6], "m").verdict is not Verdict.CLEAN
    assert scan_bytes(compress(PLAIN) + b"more", "m").verdict is not Verdict.CLEAN


def _compressor(kind: str):
    if kind == "lz4":
        return pytest.importorskip("lz4.frame").compress
    return pytest.importorskip("backports.zstd").compress


@pytest.mark.parametrize(
    ("module", "data"),
    [("lz4.frame", b"\x04\x22\x4d\x18"), ("backports.zstd", b"\x28\xb5\x2f\xfd"),
     ("py7zr", b"7z\xbc\xaf\x27\x1c\0\4")],
)  # fmt: skip
def test_without_the_reader_it_is_unreadable_and_says_what_to_install(monkeypatch, module, data):
    monkeypatch.setitem(sys.modules, module, None)
    if module == "backports.zstd":
        import backports

        monkeypatch.delattr(backports, "zstd", raising=False)
    result = scan_bytes(data + bytes(60), "model.pt")
    assert result.verdict is Verdict.UNREADABLE
    assert "crenel[archives]" in result.reasons[0].sentence


# --- CatBoost ------------------------------------------------------------------------------------


def test_native_catboost_models_are_read(tmp_path):
    catboost = pytest.importorskip("catboost")
    rng = np.random.default_rng(0)
    names = rng.integers(0, 40, 300).astype(str)
    x = [[float(a), str(c)] for a, c in zip(rng.random(300), names, strict=True)]
    model = catboost.CatBoostClassifier(iterations=10, verbose=0, allow_writing_files=False)
    model.fit(x, [int(a > 0.5) for a, _ in x], cat_features=[1])
    path = Path(tmp_path / "m.cbm")
    model.save_model(str(path))
    result = scan_file(path)
    assert (result.format, result.verdict) == ("catboost", Verdict.CLEAN)
    data = path.read_bytes()
    assert scan_bytes(data[: len(data) // 2], "m.cbm").verdict is Verdict.UNREADABLE
    plain = catboost.CatBoostClassifier(iterations=2, verbose=0, allow_writing_files=False)
    plain.fit([[a] for a, _ in x], [int(a > 0.5) for a, _ in x]).save_model(str(path))
    assert scan_bytes(path.read_bytes() + b"hidden", "m.cbm").verdict is Verdict.REVIEW
