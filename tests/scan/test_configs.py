"""Configurations that make Hugging Face's loaders fetch or import code."""

from __future__ import annotations

import json

import pytest

from crenel.scan import Verdict, scan_bytes, scan_file

from .corpus import zipped
from .mutation import ends_in_a_verdict

PLAIN = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8,
    "attn_implementation": "sdpa", "chat_template": "{{ messages[0].content }}",
    "trust_remote_code": False,
}  # fmt: skip
PIPELINE = {
    "_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.30",
    "vae": ["diffusers", "AutoencoderKL"], "text_encoder": ["transformers", "CLIPTextModel"],
    "safety_checker": [None, None],
}  # fmt: skip
MODULES = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]


def judged(config: object, name: str = "config.json") -> tuple[str, set[str]]:
    result = scan_bytes(json.dumps(config).encode(), name)
    return str(result.verdict), {reason.code for reason in result.reasons}


@pytest.mark.parametrize("config", [PLAIN, PIPELINE, MODULES])
def test_ordinary_configurations_are_clean(config):
    assert judged(config) == ("clean", set())


@pytest.mark.parametrize(
    "config",
    [
        {"auto_map": {"AutoModel": "evil/repo--modeling_x.Model"}},
        {"model": {"auto_map": {"AutoTokenizer": ["evil/repo--tok.Slow", None]}}},
        {"custom_pipelines": {"mine": {"impl": "evil/repo--pipe.Pipe", "pt": ["AutoModel"]}}},
        {"custom_pipeline": "evil/repo"},
        {"attn_implementation": "evil/kernel"},
        {"auto_mapping": {"base_model_class": "system", "parent_library": "os"}},
        {"chat_template": "{{ ''.__class__ }}"},
        {"chat_template": [{"name": "tool_use", "template": "{{ ''.__class__ }}"}]},
        {"net": {"_target_": "builtins.eval", "_args_": ["1"]}},
    ],
)
def test_code_that_a_loader_would_fetch_or_run_is_dangerous(config):
    assert judged(config)[0] in ("dangerous", "malicious")


def test_every_line_of_json_lines_is_read():
    lines = [json.dumps(PLAIN), json.dumps({"auto_map": {"AutoModel": "evil/repo--x.Model"}})]
    result = scan_bytes("\n".join(lines).encode(), "data.jsonl")
    assert (result.format, result.verdict) == ("json-lines", Verdict.DANGEROUS)
    assert scan_bytes("\n".join(lines[:1] * 2).encode()).verdict is Verdict.CLEAN
    assert scan_bytes((lines[0] + "\n{broken").encode()).verdict is Verdict.UNREADABLE


def test_auto_map_is_worse_where_its_code_lies_beside(tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(PLAIN | {"auto_map": {"AutoModel": "modeling_x.Model"}}))
    assert scan_file(config).verdict is Verdict.REVIEW
    (tmp_path / "modeling_x.py").write_text("x = 1\n")
    result = scan_file(config)
    assert result.verdict is Verdict.DANGEROUS
    assert "modeling_x.py" in result.reasons[0].sentence
    assert "trust_remote_code" in result.reasons[0].sentence


def test_auto_map_in_an_archive_looks_into_the_archive():
    config = json.dumps({"auto_map": {"AutoModel": "net.Model"}}).encode()
    both = zipped([("m/config.json", config), ("m/net.py", b"x = 1\n")])
    apart = zipped([("m/config.json", config), ("n/net.py", b"x = 1\n")])
    assert scan_bytes(both).verdict is Verdict.DANGEROUS
    assert scan_bytes(apart).verdict is Verdict.REVIEW


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"trust_remote_code": True}, "trust-remote-code"),
        (PIPELINE | {"unet": ["my_unet", "Net"]}, "remote-code"),
        (PIPELINE | {"_class_name": ["my_pipeline", "Pipe"]}, "remote-code"),
        ([MODULES[0] | {"type": "my_module.Pooling"}], "remote-code"),
        ({"_target_": "my_package.Net"}, "unlisted-target"),
    ],
)
def test_code_of_unknown_place_is_for_review(config, code):
    assert judged(config) == ("review", {code})


def test_changed_configurations_end_in_a_verdict():
    samples = [json.dumps(c).encode() for c in (PLAIN, PIPELINE, MODULES)]
    ends_in_a_verdict(samples, "config.json")
