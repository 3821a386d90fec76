"""TensorFlow's SavedModels, meta-graphs and frozen graphs: which operators they run.

Field numbers are those of saved_model.proto, meta_graph.proto, graph.proto, node_def.proto and
function.proto. A graph runs as soon as the model is called, and its initialiser while it is loaded:
operators that read, write, connect or run Python are what an attacker would put in.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from crenel.scan.context import Context
from crenel.scan.formats.keras import judge_configs
from crenel.scan.formats.wire import BYTES, VARINT, fields, first, kinds, string
from crenel.scan.source import Unreadable, Window
from crenel.scan.verdict import Verdict

MAX_FIELDS = 20_000_000
EXECUTES = "runs a Python function of the process that loads the model"
WRITES = "writes files when the graph runs"
READS = "reads any file when the graph runs"
NETWORK = "opens network connections when the graph runs"
OPERATORS = {
    EXECUTES: ("PyFunc", "PyFuncStateless", "EagerPyFunc"),
    WRITES: ("WriteFile", "DatasetToTFRecord", "ExperimentalDatasetToTFRecord", "SaveDataset",
             "SaveDatasetV2", "SnapshotDataset", "SnapshotDatasetV2", "DistributedSave",
             "CreateSummaryFileWriter", "CreateSummaryDbWriter", "FileSystemSetConfiguration"),
    READS: ("ReadFile", "MatchingFiles", "WholeFileReader", "WholeFileReaderV2", "TextLineReader",
            "TextLineReaderV2", "FixedLengthRecordReader", "FixedLengthRecordReaderV2",
            "TFRecordReader", "TFRecordReaderV2", "LMDBReader", "LoadDataset",
            "MatchingFilesDataset", "ExperimentalMatchingFilesDataset", "SqlDataset",
            "ExperimentalSqlDataset", "LMDBDataset", "ExperimentalLMDBDataset"),
    NETWORK: ("RpcServer", "RpcServerStart", "RpcServerRegister", "RpcClient", "RpcCall",
              "DataServiceDataset", "DataServiceDatasetV2", "DataServiceDatasetV3",
              "DataServiceDatasetV4", "RegisterDataset", "RegisterDatasetV2"),
}  # fmt: skip
NAME = re.compile(r"_?[A-Z][A-Za-z0-9_>]{1,100}")
# Named by a file or a place that the graph holds; harmless where that is a constant of the model.
DOUBTFUL = {
    "TFRecordDataset", "TFRecordDatasetV2", "TextLineDataset", "FixedLengthRecordDataset",
    "FixedLengthRecordDatasetV2", "CSVDataset", "CSVDatasetV2", "ExperimentalCSVDataset",
    "LoadAndRemapMatrix", "GenerateVocabRemapping", "DecodeProtoV2", "EncodeProto", "RemoteCall",
    "XlaCustomCall", "XlaCustomCallV2", "Abort",
}  # fmt: skip
# Attributes that name a place, by operator: PrintV2 and the debugger write there.
PLACES = {"output_stream": ("stderr", "stdout", "log(info)", "log(warning)", "log(error)"),
          "debug_urls": ()}  # fmt: skip
INTERNAL = {
    "_Arg", "_Retval", "_DeviceArg", "_DeviceRetval", "_If", "_While", "_Send", "_Recv",
    "_HostSend", "_HostRecv", "_SwitchN", "_FusedConv2D", "_FusedMatMul", "_FusedBatchNormEx",
    "_FusedDepthwiseConv2dNative", "_ParallelConcatStart", "_ParallelConcatUpdate", "_Identity",
    "_EagerConst", "_ListToArray", "_ArrayToList", "_VarHandlesOp", "_ReadVariablesOp",
}  # fmt: skip


@cache
def _known() -> frozenset[str]:
    """Return the names of TensorFlow's own operators."""
    text = resources.files("crenel.scan").joinpath("tensorflow_ops.json").read_text("utf-8")
    return frozenset(json.loads(text)["ops"]) | INTERNAL


@cache
def _harmful() -> dict[str, str]:
    return {name: what for what, names in OPERATORS.items() for name in names}


@dataclass
class _Graph:
    """What has been seen of a graph: operators by first place, and functions of its library."""

    context: Context
    window: Window
    used: dict[str, int] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)
    left: int = MAX_FIELDS

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Unreadable("The graph has too many fields to read all.", "over-budget")

    def graph(self, start: int, end: int) -> None:
        """Read a GraphDef: nodes, and the library of functions."""
        for number, wire, begin, stop in fields(self.window, start, end):
            self.spend()
            if wire == BYTES and number == 1:
                self.node(begin, stop)
            elif wire == BYTES and number == 2:
                self.functions_of(begin, stop)

    def functions_of(self, start: int, end: int) -> None:
        """Read the functions, which name nodes of their own."""
        for number, wire, begin, stop in fields(self.window, start, end):
            if number != 1 or wire != BYTES:
                continue
            for inner, kind, first_byte, last in fields(self.window, begin, stop):
                self.spend()
                if kind == BYTES and inner == 1:
                    self.own.add(string(self.window, first_byte, last, 1))
                elif kind == BYTES and inner == 3:
                    self.node(first_byte, last)

    def node(self, start: int, end: int) -> None:
        """Read a NodeDef: its operator, and the attributes that name a place."""
        operator, attributes = "", []
        for number, wire, begin, stop in fields(self.window, start, end):
            self.spend()
            if wire == BYTES and number == 2:
                operator = self.window.read(begin, min(stop - begin, 200)).decode(
                    "utf-8", "replace"
                )
            elif wire == BYTES and number == 5:
                attributes.append((begin, stop))
        self.used.setdefault(operator, start)
        if operator == "PrintV2" or operator.startswith("Debug"):
            for begin, stop in attributes:
                self.attribute(operator, begin, stop)

    def attribute(self, operator: str, start: int, end: int) -> None:
        key = string(self.window, start, end, 1)
        value = first(self.window, start, end, 2)
        if key not in PLACES or value is None:
            return
        listed = first(self.window, *value, 1)
        place = string(self.window, *(listed or value), 2)
        if place and place not in PLACES[key]:
            sentence = f"The operator {operator} writes to {place[:120]} when the graph runs."
            self.context.add("graph-operator", sentence, Verdict.DANGEROUS, start, operator)

    def judge(self) -> None:
        """Report the operators."""
        for operator, offset in self.used.items():
            if operator not in self.own:
                judge_operator(operator, offset, self.context)


def judge_operator(operator: str, offset: int, context: Context) -> None:
    """Report an operator that reaches files, the network or Python, or that is not TensorFlow's."""
    harm = _harmful().get(operator)
    if harm is not None:
        sentence = f"The graph has the operator {operator}, which {harm}."
        context.add("graph-operator", sentence, Verdict.DANGEROUS, offset, operator)
    elif operator in DOUBTFUL:
        sentence = f"The operator {operator} reaches files or code that the graph names."
        context.add("graph-operator", sentence, Verdict.REVIEW, offset, operator)
    elif operator not in _known():
        sentence = f"The operator {operator} is none of TensorFlow's: it comes from a library"
        sentence += " that has to be loaded first."
        context.add("custom-operator", sentence, Verdict.REVIEW, offset, operator)


def is_saved_model(window: Window, top: dict[int, int]) -> bool:
    """Tell whether the bytes are a SavedModel: a schema version and graphs, nothing else."""
    if top not in ({1: VARINT, 2: BYTES}, {2: BYTES}):
        return False
    meta = first(window, 0, len(window), 2)
    inner = kinds(window, *meta, 7) if meta is not None else None
    if meta is None or inner is None or inner.get(2) != BYTES:
        return False
    graph = first(window, *meta, 2)
    return graph is not None and kinds(window, *graph, 5) is not None


def is_graph(window: Window, top: dict[int, int]) -> bool:
    """Tell whether the bytes are a frozen GraphDef: nodes that have a name and an operator."""
    return _is_graph(window, 0, len(window), top)


def is_meta_graph(window: Window, top: dict[int, int]) -> bool:
    """Tell whether the bytes are a MetaGraphDef, the ``.meta`` of older checkpoints."""
    if max(top) > 7 or set(top.values()) != {BYTES} or 2 not in top:
        return False
    graph = first(window, 0, len(window), 2)
    inner = kinds(window, *graph, 5) if graph is not None else None
    return graph is not None and bool(inner) and _is_graph(window, *graph, inner or {})


def _is_graph(window: Window, start: int, end: int, found: dict[int, int]) -> bool:
    if max(found) > 5 or found.get(1) != BYTES or found.get(3, VARINT) != VARINT:
        return False
    node = first(window, start, end, 1)
    inner = kinds(window, *node, 7) if node is not None else None
    return node is not None and bool(inner) and bool(NAME.fullmatch(string(window, *node, 2)))


def is_keras_metadata(window: Window, top: dict[int, int]) -> bool:
    """Tell whether the bytes are the ``keras_metadata.pb`` beside a SavedModel."""
    if top != {1: BYTES}:
        return False
    node = first(window, 0, len(window), 1)
    return node is not None and string(window, *node, 4).startswith("_tf_keras")


def is_fingerprint(window: Window, top: dict[int, int]) -> bool:
    """Tell whether the bytes are the ``fingerprint.pb`` beside a SavedModel: hashes alone."""
    small = len(window) < 512 and max(top) <= 7
    return small and all(top.get(n) == VARINT for n in (1, 2, 3, 4))


def scan_saved_model(window: Window, context: Context) -> str:
    """Scan a SavedModel: each graph, its assets, and the Keras configuration it carries."""
    graph = _Graph(context, window)
    for number, wire, start, end in fields(window, 0, len(window)):
        if number == 2 and wire == BYTES:
            _meta_graph(graph, start, end)
    graph.judge()
    judge_configs(window, context)
    return "saved-model"


def scan_meta_graph(window: Window, context: Context) -> str:
    """Scan a meta-graph."""
    graph = _Graph(context, window)
    _meta_graph(graph, 0, len(window))
    graph.judge()
    return "tensorflow-meta"


def _meta_graph(graph: _Graph, start: int, end: int) -> None:
    for number, wire, begin, stop in fields(graph.window, start, end):
        if wire == BYTES and number == 2:
            graph.graph(begin, stop)
        elif wire == BYTES and number == 6:
            judge_asset(string(graph.window, begin, stop, 2), begin, graph.context)


def scan_graph(window: Window, context: Context) -> str:
    """Scan a frozen graph."""
    graph = _Graph(context, window)
    graph.graph(0, len(window))
    graph.judge()
    return "tensorflow-graph"


def scan_keras_metadata(window: Window, context: Context) -> str:
    """Scan the Keras configuration beside a SavedModel."""
    judge_configs(window, context)
    return "keras-metadata"


def judge_asset(name: str, offset: int, context: Context) -> None:
    """Report an asset that lies outside the model's folder."""
    if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or ":" in name:
        sentence = f"The asset {name[:120]} lies outside the model's folder."
        context.add("path-traversal", sentence, Verdict.DANGEROUS, offset, name[:200])
