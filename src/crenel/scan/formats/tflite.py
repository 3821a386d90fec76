"""TensorFlow Lite models, by a small reader of the flatbuffer layout: operators and buffers.

Field numbers are those of TensorFlow Lite's schema (version 3). Loaders trust the offsets of a
model, the numbers by which its parts refer to each other (CVE-2022-23560), and the product of its
shapes (CVE-2026-42627).
"""

from __future__ import annotations

import math
import re
import struct

from crenel.scan.context import Context
from crenel.scan.formats.flatbuffer import Table, root_of
from crenel.scan.formats.tensorflow import judge_operator
from crenel.scan.source import Unreadable, Window
from crenel.scan.verdict import Verdict

CUSTOM = 32
KNOWN_CUSTOM = re.compile(
    r"TFLite_Detection_PostProcess|Convolution2DTransposeBias|MaxPoolingWithArgmax2D|"
    r"MaxUnpooling2D|TransformTensorBilinear|TransformLandmarks|Landmarks2TransformMatrix|"
    r"AudioSpectrogram|Mfcc|RandomStandardNormal|RandomUniform|Multinomial|edgetpu-custom-op"
)


def scan_tflite(window: Window, context: Context) -> str:
    """Scan a model; an offset that leads out of the file is dangerous."""
    try:
        root = root_of(window)
        for code in root.tables(1):
            _operator(code, context)
        for buffer in root.tables(4):
            _buffer(buffer, context)
        _subgraphs(root, context)
    except Unreadable as error:
        if error.code == "bounds":
            sentence = f"{error.sentence[:-1]}: it is cut short, or made to be read beyond its end."
            context.add("bounds", sentence, Verdict.DANGEROUS, error.offset)
            return "tflite"
        raise
    return "tflite"


def _operator(code: Table, context: Context) -> None:
    builtin = max(code.scalar(0, "b"), code.scalar(3, "i"))
    name = code.text(1)
    if builtin != CUSTOM and not name:
        return
    if name.startswith("Flex"):
        judge_operator(name[4:], code.pos, context)
    elif not KNOWN_CUSTOM.fullmatch(name):
        sentence = f"The custom operator {name or '?'} comes from a library that has to be loaded."
        context.add("custom-operator", sentence, Verdict.REVIEW, code.pos, name)


def _buffer(buffer: Table, context: Context) -> None:
    buffer.span(0)
    start, size = buffer.scalar(1, "Q"), buffer.scalar(2, "Q")
    if start > 1 and start + size > len(buffer.window):
        sentence = "A buffer lies outside the file: it is cut short, or made to be read beyond it."
        context.add("bounds", sentence, Verdict.DANGEROUS, buffer.pos)


def _subgraphs(root: Table, context: Context) -> None:
    """Hold the numbers that tensors and operators refer to against what there is."""
    buffers, codes = root.span(4, 4)[1], root.span(1, 4)[1]
    for graph in root.tables(2):
        tensors = 0
        for tensor in graph.tables(0):
            tensors += 1
            _shape(tensor, context)
            if tensor.scalar(2, "I") >= max(buffers, 1):
                _outside("A tensor refers to a buffer", tensor.pos, context)
        for operator in graph.tables(3):
            if operator.scalar(0, "I") >= max(codes, 1):
                _outside("An operator refers to a code", operator.pos, context)
            for index in (1, 2):
                start, count = operator.span(index, 4)
                operator.spend(count)
                raw = operator.window.read(start, 4 * count)
                if any(not -1 <= n < tensors for (n,) in struct.iter_unpack("<i", raw)):
                    _outside("An operator refers to a tensor", operator.pos, context)


def _shape(tensor: Table, context: Context) -> None:
    start, count = tensor.span(0, 4)
    tensor.spend(count)
    raw = tensor.window.read(start, 4 * count)
    total = math.prod(max(n, 1) for (n,) in struct.iter_unpack("<i", raw))
    if total >= 1 << 31:
        sentence = "The shape of a tensor overflows 32 bits, in which loaders count its elements."
        context.add("overflow", sentence, Verdict.DANGEROUS, tensor.pos)


def _outside(what: str, offset: int, context: Context) -> None:
    sentence = f"{what} that is not there, so that a loader reads memory that is not the model's."
    context.add("bounds", sentence, Verdict.DANGEROUS, offset)
