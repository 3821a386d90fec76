"""Which kind of model a file holds, told by its content."""

from __future__ import annotations

import io
import zipfile
from typing import Literal

from crenel.errors import SubjectError

Format = Literal[
    "pickle",
    "skops",
    "xgboost",
    "xgboost-binary",
    "lightgbm",
    "catboost",
    "onnx",
    "torch-script",
    "torch-export",
    "torch-save",
    "safetensors",
]

_COMPRESSED = (
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ",
    b"x\x01",
    b"x\x9c",
    b"x\xda",
    b"x^",
    b"\x04\x22M\x18",
)
_TORCH_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"
_OBJECTIVES = (b"binary:", b"multi:", b"reg:", b"rank:", b"count:", b"survival:")


def format_of(content: bytes, name: str = "the file") -> Format:
    """The kind of model in some bytes.

    Parameters
    ----------
    content : bytes
        The whole file.
    name : str
        For messages, and to recognise ONNX, which has no mark of its own.

    Raises
    ------
    SubjectError
        Where the kind is not supported or not recognised; the message says what to save instead.
    """
    head = content[:4096]
    if not content:
        raise SubjectError(f"{name} is empty")
    if head.startswith(b"PK\x03\x04"):
        return _in_zip(content, name)
    if head[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        # before the text, because a pickled LightGBM model holds its text
        return "torch-save" if _TORCH_MAGIC in head[:32] else "pickle"
    if head.startswith(b"CBM1"):
        return "catboost"
    text = _of_text(head)
    if text is not None:
        return text
    if head.startswith(b"\x89HDF"):
        raise SubjectError(f"{name} is an HDF5 file; save the Keras model as ONNX instead")
    if head.startswith(_COMPRESSED):
        return "pickle"
    if head[8:9] == b"{" and 8 + int.from_bytes(head[:8], "little") <= len(content):
        return "safetensors"
    if name.endswith((".onnx", ".ort")) or (head[0] == 8 and b"onnx" in content[:10_000_000]):
        return "onnx"
    if (b"gbtree" in head or b"gblinear" in head or b"dart" in head) and any(
        o in head for o in _OBJECTIVES
    ):
        return "xgboost-binary"
    if head[:1] in b"(]}c" or name.endswith((".pkl", ".pickle", ".joblib")):
        return "pickle"
    raise SubjectError(
        f"{name} is not a model file that crenel knows; save the model with joblib, as ONNX, "
        'TorchScript or XGBoost JSON, or name a function: model = "module:function"'
    )


def _of_text(head: bytes) -> Format | None:
    if head.startswith(b"{L") or head.lstrip()[:1] == b"{":
        # XGBoost writes UBJSON as "{L" and JSON as "{"
        return "xgboost" if b"learner" in head or b"version" in head else None
    if head.startswith(b"tree\n") or b"\ntree_sizes=" in head:
        return "lightgbm"
    return None


def _in_zip(content: bytes, name: str) -> Format:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise SubjectError(f"{name} is a damaged zip archive: {error}") from error
    last = {member.rsplit("/", 1)[-1] for member in members}
    if "schema.json" in last:
        return "skops"
    if "serialized_exported_program.json" in last or any(
        m.partition("/")[2].startswith("models/") and m.endswith(".json") for m in members
    ):
        return "torch-export"
    if "constants.pkl" in last:
        return "torch-script"
    if "data.pkl" in last:
        return "torch-save"
    if any(m.endswith(".keras") or m == "model.weights.h5" for m in members):
        raise SubjectError(f"{name} is a Keras archive; save the Keras model as ONNX instead")
    raise SubjectError(f"{name} is a zip archive that holds no model; name the file inside it")
