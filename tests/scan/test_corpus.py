"""The benchmark's harmful files: every format and trick, and none of them is clean."""

from __future__ import annotations

from collections import defaultdict

import pytest
from benchmarks.scan.harmful import harmful
from benchmarks.scan.sample import Sample

from crenel.scan import Verdict, scan_bytes

FAMILIES: dict[str, list[Sample]] = defaultdict(list)
for _sample in harmful():
    FAMILIES[_sample.family].append(_sample)
# What such files do needs code that lies elsewhere, or hides where no reader here can look.
LEAST = {"safetensors": "review", "HF configuration": "review", "archives": "review",
         "TFLite": "review", "ONNX": "review", "corners: zip": "review", "corners: tar": "review",
         "corners: text": "review", "corners: JSON": "review",
         "corners: YAML": "review", "corners: spellings": "review"}  # fmt: skip


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_no_harmful_file_is_clean(family):
    verdicts = {s.name: scan_bytes(s.data, s.name).verdict for s in FAMILIES[family]}
    assert not [name for name, verdict in verdicts.items() if verdict is Verdict.CLEAN]
    loud = [v for v in verdicts.values() if v in (Verdict.DANGEROUS, Verdict.MALICIOUS)]
    assert len(loud) >= (0.7 if family not in LEAST else 0.1) * len(verdicts), verdicts


def test_the_corpus_says_what_each_file_does():
    samples = [sample for family in FAMILIES.values() for sample in family]
    assert len(samples) >= 300
    assert all(sample.why for sample in samples)
    assert len({(s.family, s.name) for s in samples}) == len(samples)
    assert len({s.data for s in samples}) > 0.9 * len(samples)
