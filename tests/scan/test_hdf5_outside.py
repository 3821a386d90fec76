"""HDF5 files that take their content from other files, as h5py 3.16 writes them."""

from __future__ import annotations

import base64
import zlib

import pytest

from crenel.scan import scan_bytes
from crenel.scan.formats.hdf5 import _suffixed
from crenel.scan.source import Window

# Compressed, and in base 85: an external link to /etc/passwd, a dataset kept there, one kept in
# other.bin, a virtual dataset of /etc/other.h5, and one of a dataset of the same file.
FILES = {
    "link": (
        "c-"
        "rgqaB<`1lHy_j0S*oZ76t(ZWbhvf3Yby(F!=;1%?PDCp!5nRm^ceqP68?}05x9$YF+?TJS51~71?}rdq%;?1|F`C"
        ";G_}(<#Ryk6HKV;VCgV`O7=3rQ!e(D$pv%?Ba(VHsCq^Y2gY(>QrAx{N!Bk&EG{ljVbHH&U;qGG;ywB"
    ),
    "storage": (
        "c-"
        "rgqaB<`1lHy_j0S*oZ76t(ZWbhvfHn5`dVe$!3nh{EOK<O1sFmXn(oCH){5NbZUx{x4OSCH!eXaHtU1`CAdU>F4>"
        "5qP*d27u@YC?A$ePcWgXD@RL@9u(Tk$iN0MixI|$q+~`$hyWK<9gJoMx{ML(K1QSz%L=4Hd?qF)urND=2AIzX%_9"
        "al(l^Xp4ye7%jIf-+g{CrruJIs&7R~`IsOt1nOOo{q5{rw=Q^5RSKYtgHKVkk;U>;4=<NyHRjXIb"
    ),
    "beside": (
        "c-"
        "rgqaB<`1lHy_j0S*oZ76t(ZWbhvfHn5`dVe$!3nh{EOK<O1sFmXn(oCH){5NbZUx{x4OSCH!eXaHtU1`CAdU>F4>"
        "5qP*d27u@YC?A$ePcWgXD@RL@9u(Tk$iN0MixI|$q+~`$hyWK<9gJoMx{ML(K1QSz%L=4Hd?qF)urND=2AIzX%_9"
        "al(l^Xp4ye7%jIf-+g{CrruJIs&7R~`IsOs`dGE$55k}~t4{9r$S7mz<;{!?HcP1EE601ibt^#"
    ),
    "virtual": (
        "c-"
        "rgqaB<`1lHy|K;9!7(|4_gn0pS}!#T`34+5J6Sf|wX8n1qlO!T=W&10w?i8xI4JVl3YbGtYy8YGC4xcm7}}D7Jp)"
        "%|^xyjEo`-"
        "3`~rSj4V*KFq&C}fl*LF9?Dl>5a(bJuLrVNfv#od=HLUWWM+W+o)JWBVHlF2xY*H<VHAvlQ7{Td!6+aGxI6p%fGa"
        "%#qzVuSoM8%J0{W>X$@=*v8L35j8Kw*=49rM!AixBwX+dI4j8J`yz#4b&%spZ#_RZiQ4f9bj3P!;w7zLwX6pVsVF"
        "bYP&C>RB!fZhNApp-W("
    ),
    "itself": (
        "c-"
        "rgqaB<`1lHy|K;9!7(|4<+x0pS}!#bthN3HA4I31VWXU=l)B2m@S942%p6Y&;A=iZNv~R2!6EzMl~)V8K8(m|%Z&"
        "BiIQ*0~tja7?>Ct8CjrmFq&C}fl*LF9?Dl>5a(bJuLrVNfv#ib;sCmwnUMkNTLGBC8yJQhkU6sJ8#pW!dp`4KBV#"
        "hdhMR*AsFGO#8aCkQ+QKj-"
        "!M%rXSQtjZC>RB!U=$D!+@1Y>7?Em5Se<PSr5RxYEcz)7%t#7AfC*H?fW(*>p_&<iH4V$sX=mU{R`8F8@hBJtqhJ"
        "(_f>AIEM!_f;1*2dTjDk@x&;S6;iaY)"
    ),
}  # fmt: skip
SAID = {"link": "dangerous", "storage": "dangerous", "beside": "review", "virtual": "dangerous",
        "itself": "clean"}  # fmt: skip


@pytest.mark.parametrize("key", sorted(FILES))
def test_files_that_an_hdf5_file_opens_are_reported(key):
    data = zlib.decompress(base64.b85decode(FILES[key]))
    result = scan_bytes(data, "weights.h5")
    assert result.format == "hdf5"
    assert result.verdict == SAID[key]
    if key != "itself":
        named = {"beside": "other.bin", "virtual": "/etc/other.h5"}.get(key, "/etc/passwd")
        assert [(r.code, r.call) for r in result.reasons] == [("outside-file", named)]


def test_a_link_that_is_cut_short_is_none():
    data = zlib.decompress(base64.b85decode(FILES["link"]))
    at = data.find(b"/etc/passwd")
    assert not [r for r in scan_bytes(data[: at + 4], "weights.h5").reasons if r.call]


def test_a_file_of_many_heaps_is_gone_through_once(monkeypatch):
    """A model of many layers has a heap for each group; the last one still tells."""
    data = zlib.decompress(base64.b85decode(FILES["storage"]))
    searched = []
    search = Window.search

    def counted(self, pattern, offset, longest):
        searched.append(len(self) - offset)
        return search(self, pattern, offset, longest)

    monkeypatch.setattr(Window, "search", counted)
    result = scan_bytes(data + b"HEAP\0\0\0\0" * 3_000 + bytes(100_000), "weights.h5")
    assert [(r.code, r.call) for r in result.reasons] == [("outside-file", "/etc/passwd")]
    assert sum(searched) < 20 * (len(data) + 124_000)


def test_more_heaps_than_are_looked_at_are_no_clean_file(monkeypatch):
    data = zlib.decompress(base64.b85decode(FILES["itself"]))
    monkeypatch.setattr("crenel.scan.formats.hdf5.MAX_FOUND", 5)
    assert scan_bytes(data + b"HEAP\0\0\0\0" * 9, "weights.h5").verdict == "unreadable"


def test_the_sources_of_a_virtual_dataset_are_read_in_time_that_their_length_bounds():
    """A search that goes back at every letter would take hours; this ends at once."""
    assert list(_suffixed(b"/" * 500_000 + b"a" * 500_000)) == []
    assert list(_suffixed(b"\1dset\0../up/other.h5\0/x\0plain.h5\0")) == [b"../up/other.h5"]
