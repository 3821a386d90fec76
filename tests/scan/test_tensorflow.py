"""SavedModels, graphs and checkpoints, written here by the numbers of TensorFlow's .proto files."""

from __future__ import annotations

import json
import struct

import pytest

from crenel.scan import Verdict, scan_bytes, scan_file

from .messages import field, varint
from .mutation import ends_in_a_verdict


def node(operator: str, *attributes: bytes) -> bytes:
    return field(1, b"n_" + operator.encode()) + field(2, operator.encode()) + b"".join(attributes)


def attribute(key: str, value: bytes) -> bytes:
    return field(5, field(1, key.encode()) + field(2, value))


def graph(*operators: str, library: bytes = b"") -> bytes:
    return b"".join(field(1, node(name)) for name in operators) + library


def function(name: str, *operators: str) -> bytes:
    body = field(1, field(1, name.encode())) + b"".join(field(3, node(o)) for o in operators)
    return field(2, field(1, body))


def saved_model(graph_def: bytes, rest: bytes = b"") -> bytes:
    meta = field(1, field(4, b"serve") + field(5, b"2.16")) + field(2, graph_def) + rest
    return field(1, 1) + field(2, meta)


NORMAL = graph(
    "Placeholder", "Const", "VarHandleOp", "StatefulPartitionedCall", "SaveV2", "RestoreV2",
    "MergeV2Checkpoints", "ShardedFilename", "Assert", "StringJoin",
    "InitializeTableFromTextFileV2", "own_function",
    library=function("own_function", "_Arg", "MatMul", "_Retval"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (saved_model(NORMAL), "saved-model"),
        (saved_model(NORMAL)[2:], "saved-model"),  # a schema version of 0 is left out
        (NORMAL, "tensorflow-graph"),
        (field(1, field(5, b"2.16")) + field(2, NORMAL), "tensorflow-meta"),
    ],
)
def test_ordinary_graphs_are_clean(data, kind):
    result = scan_bytes(data)
    assert (result.format, result.verdict) == (kind, Verdict.CLEAN), result


@pytest.mark.parametrize(
    "operator",
    ["ReadFile", "WriteFile", "PyFunc", "PyFuncStateless", "EagerPyFunc", "RpcServer",
     "DatasetToTFRecord", "DataServiceDatasetV4", "MatchingFiles", "CreateSummaryFileWriter"],
)  # fmt: skip
def test_operators_that_reach_out_are_dangerous_wherever_they_stand(operator):
    for graph_def in (graph("Const", operator), graph("Const", library=function("f", operator))):
        data = saved_model(graph_def)
        result = scan_bytes(data)
        assert result.verdict is Verdict.DANGEROUS
        reason = result.reasons[0]
        assert reason.call == operator
        assert data[reason.offset :].startswith(node(operator))


@pytest.mark.parametrize(("operator", "code"), [("EvilOp", "custom-operator"),
                         ("CSVDataset", "graph-operator")])  # fmt: skip
def test_operators_of_further_libraries_or_of_files_are_for_review(operator, code):
    result = scan_bytes(saved_model(graph("Const", operator)))
    assert result.verdict is Verdict.REVIEW
    assert [reason.code for reason in result.reasons] == [code]


@pytest.mark.parametrize(
    ("stream", "expected"), [("stderr", "clean"), ("file:///home/u/.bashrc", "dangerous")]
)
def test_printing_is_dangerous_only_into_a_file(stream, expected):
    printing = node("PrintV2", attribute("output_stream", field(2, stream.encode())))
    assert scan_bytes(saved_model(field(1, printing))).verdict == expected


def test_a_debugger_that_sends_tensors_away_is_dangerous():
    urls = field(1, field(2, b"grpc://evil:1"))
    debug = node("DebugIdentityV2", attribute("debug_urls", urls))
    assert scan_bytes(saved_model(field(1, debug))).verdict is Verdict.DANGEROUS


def test_assets_stay_in_the_folder():
    for name, expected in (
        (b"vocab.txt", "clean"),
        (b"../../x", "dangerous"),
        (b"/x", "dangerous"),
    ):
        data = saved_model(NORMAL, field(6, field(2, name)))
        assert scan_bytes(data).verdict == expected


def test_the_keras_configuration_of_a_saved_model_is_judged():
    layer = {"class_name": "Lambda", "config": {"function": ["4wEA", None, None]}}
    user = field(2, field(1, b"_tf_keras_layer") + field(3, json.dumps(layer).encode()))
    data = saved_model(NORMAL, field(7, field(1, field(4, user))))
    assert "keras-code" in {reason.code for reason in scan_bytes(data).reasons}
    metadata = field(
        1, field(2, 1) + field(4, b"_tf_keras_layer") + field(5, json.dumps(layer).encode())
    )
    result = scan_bytes(metadata)
    assert (result.format, result.verdict) == ("keras-metadata", Verdict.DANGEROUS)


def block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """A block of LevelDB's table format, without shared prefixes."""
    body = b"".join(b"\0" + varint(len(k)) + varint(len(v)) + k + v for k, v in entries)
    return body + struct.pack("<II", 0, 1)


def checkpoint_index(entries: int = 1) -> bytes:
    out = b""
    places = []
    for content in (block([(b"", field(1, 1)), (b"w", field(1, 1) + field(5, 8))]), block([])):
        places.append(varint(len(out)) + varint(len(content)))
        out += content + bytes(5)
    index = block([(b"w", places[0])] * entries)
    footer = places[1] + varint(len(out)) + varint(len(index))
    return out + index + bytes(5) + footer.ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")


def test_a_checkpoint_is_clean_where_its_index_accounts_for_it(tmp_path):
    index = checkpoint_index()
    assert scan_bytes(index).format == "tensorflow-index"
    assert scan_bytes(index).verdict is Verdict.CLEAN
    shard = tmp_path / "variables.data-00000-of-00001"
    shard.write_bytes(struct.pack("<2f", -1.5, 2e30) * 9)
    assert scan_file(shard).verdict is Verdict.UNREADABLE
    (tmp_path / "variables.index").write_bytes(index)
    assert (scan_file(shard).format, scan_file(shard).verdict) == ("tensorflow-data", Verdict.CLEAN)


def test_what_only_ends_as_an_index_does_is_not_clean():
    index = checkpoint_index()
    assert scan_bytes(b"\xff\xfeanything" + index[-8:]).verdict is not Verdict.CLEAN
    assert scan_bytes(b"hidden" + index).verdict is not Verdict.CLEAN
    # A block that is named again and again would be read so often.
    assert scan_bytes(checkpoint_index(50_000)).verdict is Verdict.UNREADABLE


def test_changed_files_end_in_a_verdict():
    samples = [saved_model(NORMAL), NORMAL, checkpoint_index(), saved_model(graph("ReadFile"))]
    ends_in_a_verdict(samples, "saved_model.pb", examples=150)
