"""TensorFlow Lite models, built by the flatbuffers package and changed byte by byte."""

from __future__ import annotations

import struct

import pytest

from crenel.scan import Verdict, scan_bytes

from .mutation import ends_in_a_verdict

flatbuffers = pytest.importorskip("flatbuffers")


def vector(builder, items):
    builder.StartVector(4, len(items), 4)
    for item in reversed(items):
        builder.PrependUOffsetTRelative(item)
    return builder.EndVector()


def numbers(builder, values):
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependInt32(value)
    return builder.EndVector()


def model(
    custom: str = "", buffer: int = 0, code: int = 0, tensor: int = 0, outside=(0, 0), shape=(4,)
):
    """One operator, one tensor, one buffer; the arguments make one of them point elsewhere."""
    builder = flatbuffers.Builder(256)
    name = builder.CreateString(custom) if custom else None
    builder.StartObject(4)
    if custom:
        builder.PrependUOffsetTRelativeSlot(1, name, 0)
    builder.PrependInt8Slot(0, 32 if custom else 9, 0)
    builder.PrependInt32Slot(3, 32 if custom else 9, 0)
    codes = vector(builder, [builder.EndObject()])
    data = builder.CreateByteVector(bytes(16))
    builder.StartObject(3)
    builder.PrependUOffsetTRelativeSlot(0, data, 0)
    builder.PrependUint64Slot(1, outside[0], 0)
    builder.PrependUint64Slot(2, outside[1], 0)
    buffers = vector(builder, [builder.EndObject()])
    shape = numbers(builder, list(shape))
    builder.StartObject(4)
    builder.PrependUOffsetTRelativeSlot(0, shape, 0)
    builder.PrependUint32Slot(2, buffer, 0)
    tensors = vector(builder, [builder.EndObject()])
    inputs, outputs = numbers(builder, [tensor, -1]), numbers(builder, [0])
    builder.StartObject(3)
    builder.PrependUint32Slot(0, code, 0)
    builder.PrependUOffsetTRelativeSlot(1, inputs, 0)
    builder.PrependUOffsetTRelativeSlot(2, outputs, 0)
    operators = vector(builder, [builder.EndObject()])
    builder.StartObject(4)
    builder.PrependUOffsetTRelativeSlot(0, tensors, 0)
    builder.PrependUOffsetTRelativeSlot(3, operators, 0)
    graphs = vector(builder, [builder.EndObject()])
    builder.StartObject(5)
    builder.PrependUint32Slot(0, 3, 0)
    builder.PrependUOffsetTRelativeSlot(1, codes, 0)
    builder.PrependUOffsetTRelativeSlot(2, graphs, 0)
    builder.PrependUOffsetTRelativeSlot(4, buffers, 0)
    builder.Finish(builder.EndObject(), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize(
    ("arguments", "expected", "codes"),
    [
        ({}, "clean", set()),
        ({"custom": "TFLite_Detection_PostProcess"}, "clean", set()),
        ({"custom": "EvilOp"}, "review", {"custom-operator"}),
        ({"custom": "FlexErf"}, "clean", set()),
        ({"custom": "FlexEvil"}, "review", {"custom-operator"}),
        ({"custom": "FlexReadFile"}, "dangerous", {"graph-operator"}),
        ({"custom": "FlexPyFunc"}, "dangerous", {"graph-operator"}),
        ({"shape": (1, -1, 1 << 20)}, "clean", set()),
        ({"shape": (1 << 16, 1 << 16)}, "dangerous", {"overflow"}),
        ({"buffer": 7}, "dangerous", {"bounds"}),
        ({"code": 7}, "dangerous", {"bounds"}),
        ({"tensor": 7}, "dangerous", {"bounds"}),
        ({"tensor": -2}, "dangerous", {"bounds"}),
        ({"outside": (1 << 40, 8)}, "dangerous", {"bounds"}),
        ({"outside": (64, 1 << 40)}, "dangerous", {"bounds"}),
    ],
)
def test_models(arguments, expected, codes):
    result = scan_bytes(model(**arguments))
    assert (result.format, result.verdict) == ("tflite", expected), result
    assert {reason.code for reason in result.reasons} == codes


def test_a_root_outside_the_file_is_dangerous():
    data = struct.pack("<I", 1 << 30) + b"TFL3" + bytes(40)
    assert scan_bytes(data).verdict is Verdict.DANGEROUS


def test_changed_models_end_in_a_verdict():
    ends_in_a_verdict([model(), model("FlexErf"), model("EvilOp")], examples=150)
