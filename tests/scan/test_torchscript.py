"""TorchScript and torch.export: the operators that their code calls."""

from __future__ import annotations

import json

import pytest

from crenel.scan import Verdict, scan_bytes, scan_file

from .corpus import proto, zipped
from .mutation import ends_in_a_verdict

HEAD = """class M(Module):
  __parameters__ = []
  def forward(self: __torch__.M, x: Tensor) -> Tensor:
"""


def script(body: str) -> bytes:
    code = f"{HEAD}    {body}\n    return x\n".encode()
    return zipped([("m/data.pkl", proto(2) + b"}."), ("m/code/__torch__.py", code)])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("x = torch.add(torch.relu(x), CONSTANTS.c0)", "clean"),
        ("x = ops.quantized.linear(x, self.w, 1., 0)", "clean"),
        ('ops.prim.RaiseException("torch.save(x) is no call", "builtins.ValueError")', "clean"),
        ("x = (self).save(x, )", "clean"),  # a method of the module's own
        ('x = torch.from_file("/etc/passwd", False, 100)', "dangerous"),
        ('torch.save(x, "/home/u/.bashrc")', "dangerous"),
        ('x = ops.aten.from_file("/etc/passwd")', "dangerous"),
        ('x = ops.image.read_file("/etc/passwd")', "dangerous"),
        ('ops.image.write_file("/home/u/.bashrc", x)', "dangerous"),
        ('_0 = ops.prim.rpc_sync("worker", "f", (x,))', "dangerous"),
        ("x = ops.mylib.decode(x)", "review"),
        ("x = torch.add(x, ) + + ) ops.mylib.decode(x", "review"),  # does not parse
    ],
)
def test_torchscript_code(body, expected):
    result = scan_bytes(script(body))
    assert (result.format, result.verdict) == ("torchscript", expected), result


def test_the_place_of_a_call_is_told():
    call = 'torch.save(x, "é")'
    data = script(f'_0 = "é"; {call}')
    reason = scan_bytes(data).reasons[0]
    code = f'{HEAD}    _0 = "é"; {call}'.encode()
    assert code[reason.offset :].startswith(b"torch.save")
    assert reason.member == "m/code/__torch__.py"


def exported(target: str, *others: tuple[str, bytes]) -> bytes:
    prose = {"target": "no call"}
    nodes = [
        {"target": name, "inputs": [], "outputs": [], "metadata": prose}
        for name in ("torch.ops.aten.add.Tensor", target)
    ]
    program = {"graph_module": {"graph": {"nodes": nodes}}, "schema_version": {"major": 8}}
    return zipped(
        [
            ("m/archive_format", b"pt2"),
            ("m/models/model.json", json.dumps(program).encode()),
            *others,
        ]
    )


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("torch.ops.higher_order.cond", "clean"),
        ("_operator.add", "clean"),
        ("math.floor", "clean"),
        ("torch.ops.aten.from_file.default", "dangerous"),
        ("torch.ops.image.read_file.default", "dangerous"),
        ("torch.ops.mylib.f.default", "review"),
        ("mypackage.f", "review"),
        ("os.system", "dangerous"),
    ],
)
def test_targets_of_an_exported_program(target, expected):
    result = scan_bytes(exported(target))
    assert (result.format, result.verdict) == ("torch-export", expected), result


def test_code_and_programs_do_not_pass_for_storages():
    def refers(folder: str, key: str) -> tuple[str, bytes]:
        name = key.encode()
        storage = b"ctorch\nFloatStorage\nX" + len(name).to_bytes(4, "little") + name
        reference = b"(X\x07\0\0\0storage" + storage + b"X\x03\0\0\0cpuK\x01tQ."
        return f"m/{folder}.pkl", b"\x80\x02" + reference

    pickled = ("m/data.pkl", b"\x80\x02N.")
    hidden = exported("os.system", refers("models", "model.json"), pickled)
    assert scan_bytes(hidden).verdict is not Verdict.CLEAN
    code = ("m/code/__torch__.py", f'{HEAD}    torch.save(x, "a")'.encode())
    assert scan_bytes(zipped([pickled, code])).verdict is not Verdict.CLEAN
    hidden = zipped([pickled, code, refers("code", "__torch__.py")])
    assert scan_bytes(hidden).verdict is not Verdict.CLEAN
    other = zipped([pickled, ("m/data/weights", bytes(9)), refers("data", "weights")])
    assert scan_bytes(other).verdict is Verdict.REVIEW  # data.pkl is there twice, no more
    library = ("m/lib/x.so", b"\x7fELF" + bytes(99))
    assert (
        scan_bytes(zipped([pickled, library, refers("lib", "x.so")])).verdict is Verdict.DANGEROUS
    )


def test_a_program_is_judged_whatever_else_the_archive_is():
    pickled, code = ("x/data.pkl", b"\x80\x02N."), ("x/code/a.py", b"")
    for others in ((pickled,), (pickled, code)):
        assert scan_bytes(exported("math.floor", *others)).verdict is Verdict.CLEAN
        assert scan_bytes(exported("os.system", *others)).verdict is not Verdict.CLEAN


def test_a_library_in_an_exported_program_is_dangerous():
    data = zipped(
        [("m/archive_format", b"pt2"), ("m/data/aotinductor/model/x.so", b"\x7fELF" + bytes(99))]
    )
    assert scan_bytes(data).verdict is Verdict.DANGEROUS


@pytest.mark.filterwarnings("ignore")
def test_what_torch_writes_is_clean_until_it_saves(tmp_path):
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LSTM(4, 5))
    path = tmp_path / "m.pt"
    torch.jit.script(model).save(path)
    assert (scan_file(path).format, scan_file(path).verdict) == ("torchscript", Verdict.CLEAN)
    harmful = torch.jit.CompilationUnit("def f(x: Tensor):\n  torch.save(x, 'p')\n  return x\n")
    assert "save" in harmful.f.code
    result = scan_bytes(script(harmful.f.code.split("\n")[1].strip()))
    assert result.verdict is Verdict.DANGEROUS


def test_changed_archives_end_in_a_verdict():
    samples = [script("x = torch.add(x, x)"), exported("math.floor")]
    ends_in_a_verdict(samples, "model.pt")


def test_weights_that_torch_export_unpickles_are_scanned():
    """Such files may be pickles, or torch's own in either form, under the names of raw arrays."""
    unlisted = b"\x80\x02cown\nthing\n)R."
    nested = b"\x80\x02ctorch.storage\n_load_from_bytes\nB" + len(unlisted).to_bytes(4, "little")
    harmless = zipped([("w/data.pkl", b"\x80\x02N.")])
    for data, expected in (
        (unlisted, Verdict.REVIEW),
        (nested + unlisted + b"\x85R.", Verdict.REVIEW),
        (zipped([("w/data.pkl", unlisted)]), Verdict.REVIEW),
        (harmless, Verdict.CLEAN),
        (b"N." + bytes(6), Verdict.CLEAN),  # a raw array that is a pickle by chance
    ):
        members = [("m/archive_format", b"pt2"), ("m/data/weights/weight_0", data)]
        assert scan_bytes(zipped(members)).verdict is expected
        assert scan_bytes(zipped([*members, ("x/data.pkl", b"\x80\x02N.")])).verdict is expected
