"""Dotted names that a configuration has its loader import and call, as Hydra's ``_target_``."""

from __future__ import annotations

import re

from crenel.scan.context import Context
from crenel.scan.verdict import Verdict

NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
# Packages whose classes configurations of models name; their functions stay for review.
HOMES = {
    "torch", "torchvision", "torchaudio", "torchmetrics", "pytorch_lightning", "lightning", "nemo",
    "nemo_toolkit", "transformers", "diffusers", "timm", "monai", "sklearn", "tensorflow", "keras",
    "megatron", "accelerate", "peft", "speechbrain", "fairseq", "detectron2", "mmengine", "mmdet",
    "ultralytics", "xgboost", "lightgbm", "datasets", "tokenizers", "sentence_transformers",
    "omegaconf", "ldm", "sgm", "hydra",
}  # fmt: skip


def judge_target(name: str, by: str, context: Context, offset: int | None) -> None:
    """Judge one name: known harmful, a class of a known package, or for review.

    Parameters
    ----------
    name : str
        Dotted path of what is called.
    by : str
        The key or tag that names it.
    context : Context
        Receives the reason.
    offset : int or None
        Where it stands.
    """
    shown = name[:200]
    if not NAME.fullmatch(name):
        sentence = f"{by} names {shown!r}, which is put together while loading."
        context.add("computed-target", sentence, Verdict.REVIEW, offset, shown)
        return
    module, _, last = name.rpartition(".")
    hostile = context.policy.hostile(module or "builtins", last)
    if hostile is not None:
        sentence = f"{by} makes a loader call {shown}, which {hostile.what}."
        context.add("hostile-target", sentence, hostile.called, offset, shown)
    elif context.beside(module.replace(".", "/") + ".py"):
        sentence = f"{by} makes a loader import {shown} from the code beside this file; read it."
        context.add("unlisted-target", sentence, Verdict.DANGEROUS, offset, shown)
    elif not (name.partition(".")[0] in HOMES and last[:1].isupper()):
        sentence = f"{by} makes a loader call {shown}, which is not on the list of known classes."
        context.add("unlisted-target", sentence, Verdict.REVIEW, offset, shown)
