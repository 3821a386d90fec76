"""Configurations in JSON that make a loader fetch code, import it or render a template.

Hugging Face's loaders read them: ``auto_map`` (transformers), ``custom_pipelines``,
``_class_name`` and component pairs (diffusers), ``modules.json`` (sentence-transformers),
``auto_mapping`` (PEFT), ``attn_implementation`` (kernels), ``_target_`` (Hydra), and
``chat_template`` in tokenizer and processor configurations.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from crenel.scan.context import Context
from crenel.scan.formats.mlflow import judge_flavour
from crenel.scan.formats.requirements import is_foreign
from crenel.scan.formats.targets import NAME, judge_target
from crenel.scan.formats.zipfiles import leaves_folder
from crenel.scan.source import Unreadable
from crenel.scan.verdict import Verdict

MAX_ITEMS = 20_000_000
READ = "Read that code, and pin its revision, before you load this with trust_remote_code=True."
PEFT_HOMES = ("transformers", "diffusers", "peft", "sentence_transformers")
COMPONENT_HOMES = {"transformers", "diffusers", "onnxruntime", "optimum", "flax", "peft",
                   "stable_diffusion"}  # fmt: skip
#: Text of a template, under whatever key, that reaches for the internals of an object.
REACHES = re.compile(r"\{[{%][^{}]{0,400}__\w{2,20}__")
NO = {"false", "no", "off", "0", "", "none"}
HANDLERS = {"image_classifier", "image_segmenter", "object_detector", "text_classifier"}


def judge_json(data: object, context: Context) -> None:
    """Judge every object of a parsed JSON file."""
    for item in _objects(data):
        for key, value in item.items():
            judge = KEYS.get(key)
            if judge is not None:
                judge(value, context)
            elif isinstance(value, str) and key.endswith("template") and REACHES.search(value):
                _template(value, context)
    if isinstance(data, list):
        _modules(data, context)
    if isinstance(data, dict) and "_class_name" in data:
        _components(data, context)


def _objects(data: object) -> Iterator[dict[str, object]]:
    waiting, left = [data], MAX_ITEMS
    while waiting:
        item = waiting.pop()
        left -= 1
        if left < 0:
            raise Unreadable("The JSON file has too many parts to judge all.", "over-budget")
        if isinstance(item, dict):
            yield item
            waiting.extend(v for v in item.values() if isinstance(v, (dict, list)))
        elif isinstance(item, list):
            waiting.extend(v for v in item if isinstance(v, (dict, list)))


def code(reference: str, context: Context, by: str) -> None:
    """Report Python code that a loader imports: ``module.Class`` or ``repository--module.Class``.

    Parameters
    ----------
    reference : str
        As the configuration has it.
    context : Context
        Receives the reason; tells whether the module lies beside.
    by : str
        What names it.
    """
    repository, remote, path = reference.rpartition("--")
    file = path.rpartition(".")[0].replace(".", "/") + ".py"
    if remote:
        sentence = f"{by} makes loaders fetch {file} from the repository {repository} and run it."
        context.add("remote-code", f"{sentence} {READ}", Verdict.DANGEROUS, None, reference[:200])
    elif context.beside(file):
        sentence = f"{by} makes loaders import {file}, which lies beside this file."
        context.add("remote-code", f"{sentence} {READ}", Verdict.DANGEROUS, None, reference[:200])
    else:
        sentence = f"{by} names Python code ({file}) that some loaders fetch and run."
        context.add("remote-code", f"{sentence} {READ}", Verdict.REVIEW, None, reference[:200])


def _strings(value: object) -> Iterator[str]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, (dict, list)):
            waiting.extend(item.values() if isinstance(item, dict) else item)


def _auto_map(value: object, context: Context) -> None:
    for reference in _strings(value):
        code(reference, context, "auto_map")


def _pipelines(value: object, context: Context) -> None:
    for pipeline in value.values() if isinstance(value, dict) else []:
        if isinstance(pipeline, dict) and isinstance(pipeline.get("impl"), str):
            code(pipeline["impl"], context, "custom_pipelines")


def _pipeline(value: object, context: Context) -> None:
    if isinstance(value, str):
        code(f"{value}--pipeline.Pipeline", context, "custom_pipeline")


def _trust(value: object, context: Context) -> None:
    if isinstance(value, (bool, int, str)) and str(value).lower() not in NO:
        sentence = "The configuration switches trust_remote_code on: loaders then run code that"
        sentence += " comes with the model, unasked. Set it to false."
        context.add("trust-remote-code", sentence, Verdict.REVIEW)


def _attention(value: object, context: Context) -> None:
    for name in _strings(value):
        if re.fullmatch(r"(?:paged\|)?[\w.-]+/[\w.-]+(?:@[\w.-]+)?(?::\w+)?", name):
            sentence = f"The attention comes from the repository {name}: compiled code that loaders"
            sentence += " fetch and run. Choose a built-in attention."
            context.add("remote-code", sentence, Verdict.DANGEROUS, None, name)


def _peft(value: object, context: Context) -> None:
    if not isinstance(value, dict) or not isinstance(value.get("parent_library"), str):
        return
    library = value["parent_library"]
    if library.partition(".")[0] not in PEFT_HOMES:
        sentence = f"auto_mapping makes PEFT import {library}. {READ}"
        context.add("remote-code", sentence, Verdict.DANGEROUS, None, library[:200])


def _target(value: object, context: Context) -> None:
    if isinstance(value, str):
        judge_target(value, "_target_", context, None)


def _class_path(value: object, context: Context) -> None:
    """``class_path`` of Lightning's command line, which is imported and called."""
    if isinstance(value, str) and "." in value and NAME.fullmatch(value):
        judge_target(value, "class_path", context, None)


def _scripts(value: object, context: Context) -> None:
    """``scripts`` of package.json: those that npm runs when the package is installed."""
    for key in ("preinstall", "install", "postinstall", "prepare"):
        if isinstance(value, dict) and value.get(key):
            sentence = f"npm runs a command of this file ({key}) when the folder is installed."
            context.add("automatic-code", sentence, Verdict.DANGEROUS, None, str(value[key])[:200])


def _template(value: object, context: Context) -> None:
    from crenel.scan.formats.templates import judge_template

    named = value if isinstance(value, list) else [value]
    for item in named:
        if isinstance(item, str):
            judge_template(item, context, None, "chat_template")
        elif isinstance(item, dict):
            for key, text in item.items():
                if (key != "name" or "template" not in item) and isinstance(text, str):
                    judge_template(text, context, None, f"chat_template {item.get('name', key)}")


def _archive_manifest(value: object, context: Context) -> None:
    """``MAR-INF/MANIFEST.json`` of TorchServe: the handler is the code that serves the model."""
    if not isinstance(value, dict) or "modelName" not in value:
        return
    handler = str(value.get("handler", ""))
    if handler and handler not in HANDLERS:
        sentence = f"TorchServe runs {handler[:100]} to load and serve this model; read it."
        context.add("handler", sentence, Verdict.DANGEROUS, None, handler[:200])
    for key in ("modelFile", "requirementsFile"):
        if value.get(key):
            verb = "runs" if key == "modelFile" else "installs what is listed in"
            sentence = f"TorchServe {verb} {str(value[key])[:100]} to load this model; read it."
            verdict = Verdict.DANGEROUS if key == "modelFile" else Verdict.REVIEW
            context.add("handler", sentence, verdict, None, str(value[key])[:200])


def _shards(value: object, context: Context) -> None:
    """``weight_map`` of an index: files of weights, which lie beside it."""
    for name in sorted(set(_strings(value))):
        if leaves_folder(name):
            sentence = f"The index names {name[:120]}, a file of weights outside its folder."
            context.add("path-traversal", sentence, Verdict.DANGEROUS, None, name[:200])


def _flavours(value: object, context: Context) -> None:
    for flavour in value.values() if isinstance(value, dict) else []:
        if isinstance(flavour, dict):
            judge_flavour(flavour, context)


def _packages(value: object, context: Context) -> None:
    for line in _strings(value):
        if is_foreign(line):
            sentence = f"Installing what the model needs fetches {line[:100]} from outside the"
            sentence += " package registry; pin it by a digest, or leave it out."
            context.add("foreign-package", sentence, Verdict.REVIEW, None, line[:200])


def _opened(value: object, context: Context) -> None:
    if value:
        sentence = "An editor runs a command of this file when it opens or builds the folder."
        context.add("automatic-code", sentence, Verdict.DANGEROUS, None, str(value)[:200])


def _run_options(value: object, context: Context) -> None:
    if isinstance(value, dict) and value.get("runOn") == "folderOpen":
        _opened(value, context)


def _modules(data: list[object], context: Context) -> None:
    """``modules.json`` of sentence-transformers: each entry names a class to import."""
    for entry in data:
        if not isinstance(entry, dict) or not {"idx", "path", "type"} <= set(entry):
            continue
        kind = str(entry["type"])
        if not kind.startswith("sentence_transformers."):
            code(kind, context, "modules.json")


def _components(data: dict[str, object], context: Context) -> None:
    """``model_index.json`` of diffusers: pairs of a library, or of a file beside, and a class."""
    if isinstance(data["_class_name"], list):
        code(".".join(map(str, data["_class_name"])), context, "_class_name")
    for key, value in data.items():
        if key.startswith("_") or not isinstance(value, list) or len(value) != 2:
            continue
        home = value[0]
        if isinstance(home, str) and home.partition(".")[0] not in COMPONENT_HOMES:
            file = f"{key}/{home.replace('.', '/')}"
            code(f"{file}.{value[1]}", context, "model_index.json")


KEYS = {
    "auto_map": _auto_map, "custom_pipelines": _pipelines, "custom_pipeline": _pipeline,
    "trust_remote_code": _trust, "attn_implementation": _attention,
    "_attn_implementation": _attention, "auto_mapping": _peft, "_target_": _target,
    "chat_template": _template, "model": _archive_manifest, "weight_map": _shards,
    "class_path": _class_path, "scripts": _scripts, "flavors": _flavours, "pip": _packages,
    "runOptions": _run_options,
    "initializeCommand": _opened, "onCreateCommand": _opened, "postCreateCommand": _opened,
    "postStartCommand": _opened, "postAttachCommand": _opened, "updateContentCommand": _opened,
}  # fmt: skip
