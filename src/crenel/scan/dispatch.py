"""Recognises bytes by their content and gives them to the reader of their format."""

from __future__ import annotations

from collections.abc import Callable

from crenel.scan.context import Context, Reader
from crenel.scan.formats import (
    archives,
    boosters,
    checkpoint,
    gguf,
    keras,
    numpy_files,
    onnx,
    plain,
    rdata,
    safetensors,
    sentencepiece,
    sevenzip,
    tensorflow,
    texts,
    tflite,
)
from crenel.scan.formats.compressed import compressed
from crenel.scan.formats.pickles import probe, scan_pickle
from crenel.scan.formats.wire import kinds
from crenel.scan.formats.zipfiles import find_end
from crenel.scan.source import Window
from crenel.scan.verdict import Verdict

PICKLE = "pickle"
MAGIC: tuple[tuple[int, bytes, Reader], ...] = (
    (0, b"PK\x03\x04", archives.scan_zip), (0, b"PK\x05\x06", archives.scan_zip),
    (0, b"\x93NUMPY", numpy_files.scan_npy), (0, b"\x1f\x8b", compressed("gzip")),
    (0, b"BZh", compressed("bz2")), (0, b"\xfd7zXZ\0", compressed("xz")),
    (0, b"]\0\0", compressed("lzma")), (0, b"x\x01", compressed("zlib")),
    (0, b"x^", compressed("zlib")), (0, b"x\x9c", compressed("zlib")),
    (0, b"x\xda", compressed("zlib")), (0, b"\x89HDF\r\n\x1a\n", keras.scan_hdf5),
    (512, b"\x89HDF\r\n\x1a\n", keras.scan_hdf5), (1024, b"\x89HDF\r\n\x1a\n", keras.scan_hdf5),
    (257, b"ustar", archives.scan_tar), (0, b"\x7fELF", plain.scan_program),
    (0, b"\xcf\xfa\xed\xfe", plain.scan_program), (0, b"\xfe\xed\xfa\xcf", plain.scan_program),
    (0, b"\xca\xfe\xba\xbe", plain.scan_program), (0, b"MZ", plain.scan_program),
    (0, b"#!", plain.scan_script), (0, b"PAR1", plain.scan_columns),
    (0, b"ARROW1", plain.scan_columns), (0, b"FEA1", plain.scan_columns),
    (0, b"\x89PNG\r\n\x1a\n", plain.named("png")), (0, b"\xff\xd8\xff", plain.named("jpeg")),
    (0, b"GIF8", plain.named("gif")), (0, b"\0\0\x08\x01", plain.scan_idx),
    (0, b"\0\0\x08\x03", plain.scan_idx), (0, b"binf", boosters.scan_old_xgboost),
    (0, b"tree\nversion=", boosters.scan_lightgbm), (0, b"tree\r\n", boosters.scan_lightgbm),
    (0, b"\x04\x22\x4d\x18", compressed("lz4")), (0, b"\x28\xb5\x2f\xfd", compressed("zstd")),
    (0, b"7z\xbc\xaf\x27\x1c", sevenzip.scan_7z), (0, b"Rar!", plain.unread("rar")),
    (0, b"ZF0x", plain.unread("joblib before 0.10")), (0, b"GGUF", gguf.scan_gguf),
    (4, b"TFL3", tflite.scan_tflite), (0, b"CBM1", boosters.scan_catboost),
    (0, b"RDX2\n", rdata.scan_rdata), (0, b"RDX3\n", rdata.scan_rdata),
    (0, b"X\n\0\0\0\2", rdata.scan_rdata), (0, b"X\n\0\0\0\3", rdata.scan_rdata),
    (0, b"RDX", plain.unread("R data")), (0, b"RDA", plain.unread("R data")),
    (0, b"A\n2\n", plain.unread("R data in ASCII")),
    (0, b"A\n3\n", plain.unread("R data in ASCII")),
    (0, b"\xce\xfa\xed\xfe", plain.scan_program), (0, b"\xfe\xed\xfa\xce", plain.scan_program),
    (0, b"\0asm", plain.scan_program), (0, b"dex\n0", plain.scan_program),
    (0, b"L\0\0\0\x01\x14\x02\0", plain.scan_program),
)  # fmt: skip

# Told apart by the fields of their protobuf message, for they have no magic number.
MESSAGES: tuple[tuple[Callable[[Window, dict[int, int]], bool], Reader], ...] = (
    (onnx.is_onnx, onnx.scan_onnx),
    (tensorflow.is_saved_model, tensorflow.scan_saved_model),
    (tensorflow.is_meta_graph, tensorflow.scan_meta_graph),
    (tensorflow.is_graph, tensorflow.scan_graph),
    (tensorflow.is_keras_metadata, tensorflow.scan_keras_metadata),
    (sentencepiece.is_sentencepiece, sentencepiece.scan_sentencepiece),
    (tensorflow.is_fingerprint, plain.named("fingerprint")),
)


def dispatch(window: Window, context: Context) -> str:
    """Read bytes as what they are and return the name of their format.

    Bytes that are something else are also read as a pickle from the first byte, and as a zip
    archive from the last, because a loader may do so whatever else the file is.
    """
    if len(window) == 0:
        return plain.scan_empty(window, context)
    if window.read(0, 1) == b"\x80" and window.read(1, 1) <= b"\x05":
        found = context.guarded(scan_pickle, window) or PICKLE
    else:
        found = _other(window, context)
    at = _user_block(window)
    if at and found != "hdf5":
        sentence = f"The file is HDF5 too, behind {at} other bytes, so that readers differ."
        context.add("polyglot", sentence, Verdict.REVIEW, at)
        context.guarded(keras.scan_hdf5, window.window(at))
    if not window.startswith(b"PK") and _is_archive(window):
        sentence = "The file is a zip archive too, so that readers differ in what they load."
        context.add("polyglot", sentence, Verdict.REVIEW, find_end(window))
        context.guarded(archives.scan_zip, window)
    return found


def _user_block(window: Window) -> int:
    """Return how many bytes lie before an HDF5 file: a power of two from 512; 0 where none is."""
    at = 512
    while at < len(window):
        if window.read(at, 8) == b"\x89HDF\r\n\x1a\n":
            return at
        at *= 2
    return 0


def _is_archive(window: Window) -> bool:
    end = find_end(window)
    if end < 0 or end + 22 > len(window):
        return False
    size = int.from_bytes(window.read(end + 12, 4), "little")
    tail = int.from_bytes(window.read(end + 20, 2), "little")
    fits = end + 22 + tail == len(window) and window.read(end - size, 4) == b"PK\x01\x02"
    return fits and size > 0


def _other(window: Window, context: Context) -> str:
    is_pickle, report = probe(window, context)
    reader = _by_magic(window)
    if reader is None and is_pickle:
        return context.guarded(scan_pickle, window) or PICKLE
    if reader is None:
        reader = _by_structure(window)
    if reader is plain.scan_unknown and report.found:
        return context.guarded(scan_pickle, window) or PICKLE
    context.report.merge(report)
    if report.modules:
        sentence = "The file is a pickle too, so that readers differ in what they load."
        context.add("polyglot", sentence, Verdict.REVIEW, 0)
        context.guarded(scan_pickle, window)
    return context.guarded(reader, window)


def _by_magic(window: Window) -> Reader | None:
    for offset, magic, reader in MAGIC:
        if window.read(offset, len(magic)) == magic:
            return reader
    return None


def _by_structure(window: Window) -> Reader:
    if safetensors.is_safetensors(window):
        return safetensors.scan_safetensors
    head = window.read(0, 64).removeprefix(b"\xef\xbb\xbf").lstrip()
    jinja = head[:2] in (b"{%", b"{{", b"{#")
    if head[:1] == b"{" and head[1:2] in b"$#iUIlL" and not (jinja and texts.is_text(window)):
        return boosters.scan_ubjson
    if plain.is_compiled(window):
        return plain.scan_compiled
    if checkpoint.is_index(window):
        return checkpoint.scan_index
    top = kinds(window, 0, len(window), 30)
    if top:
        for recognised, reader in MESSAGES:
            if recognised(window, top):
                return reader
    if texts.is_text(window):
        looks = head[:1] == b"{" or (head[:1] == b"[" and head[1:2].strip() in b'{["-0123456789]')
        return texts.scan_json if looks and not jinja else texts.scan_text
    return plain.scan_unknown
