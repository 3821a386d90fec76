"""Coverage-guided fuzzing of each parser of the scanner, by libFuzzer through Atheris.

Run ``python benchmarks/scan/fuzz_parsers.py --fuzzer PYTHON [--seconds S] [--rounds N]
[--minutes M] [--corpus FOLDER] [--parser NAME ...]``.
PYTHON is the interpreter of an environment with ``atheris``, ``jinja2`` and ``numpy``, and with
``py7zr``, ``lz4`` and ``backports.zstd`` for what they read. Each parser
is given S seconds (default 180) in a process of its own, with the harmful and benign files of its
format as seeds. Rounds give each parser that time again, in turn, from the corpus that the earlier
ones made, until M minutes are over; ``--corpus`` keeps it for the next run too. A failure is any
exception out of the parser, an input that takes over 10 seconds, or 500 MB of memory beyond what
the process takes before its first input; failing inputs are kept in the folder of ``--keep``, and
the status is 1. Shown are, of all rounds, the seconds, the inputs tried, the edges of code reached,
and the failures.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS, MEGABYTES, LONGEST = 10, 500, 1 << 16
PACKED = "crenel.scan.formats.compressed:compressed"
#: Reader of each parser, the formats whose files are its seeds, and the name that its inputs bear.
PARSERS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "pickle": ("crenel.scan.formats.pickles:scan_pickle", ("pickle", "torch-legacy"), "x.pkl"),
    "joblib": ("crenel.scan.formats.pickles:scan_pickle", ("joblib",), "x.joblib"),
    "zip": ("crenel.scan.formats.archives:scan_zip", ("zip", "npz", "skops", "mar"), "x.zip"),
    "torch-zip": ("crenel.scan.formats.archives:scan_zip", ("torch-zip",), "x.pt"),
    "torchscript": (
        "crenel.scan.formats.archives:scan_zip", ("torchscript", "torch-export"), "x.pt"
    ),
    "keras-zip": ("crenel.scan.formats.archives:scan_zip", ("keras",), "x.keras"),
    "tar": ("crenel.scan.formats.archives:scan_tar", ("tar",), "x.nemo"),
    "npy": ("crenel.scan.formats.numpy_files:scan_npy", ("npy",), "x.npy"),
    "gzip": (f"{PACKED}(gzip)", ("pickle+gzip", "joblib+gzip", "tar+gzip"), "x.gz"),
    "bz2": (f"{PACKED}(bz2)", ("pickle+bz2", "tar+bz2"), "x.bz2"),
    "xz": (f"{PACKED}(xz)", ("pickle+xz", "tar+xz"), "x.xz"),
    "lzma": (f"{PACKED}(lzma)", ("pickle+lzma",), "x.lzma"),
    "zlib": (f"{PACKED}(zlib)", ("pickle+zlib", "joblib+zlib"), "x.joblib"),
    "lz4": (f"{PACKED}(lz4)", ("pickle+lz4", "joblib+lz4"), "x.joblib"),
    "zstd": (f"{PACKED}(zstd)", ("pickle+zstd", "zstd"), "x.zst"),
    "7z": ("crenel.scan.formats.sevenzip:scan_7z", ("7z",), "x.7z"),
    "catboost": ("crenel.scan.formats.boosters:scan_catboost", ("catboost",), "x.cbm"),
    "hdf5": ("crenel.scan.formats.keras:scan_hdf5", ("hdf5",), "x.h5"),
    "safetensors": (
        "crenel.scan.formats.safetensors:scan_safetensors", ("safetensors",), "x.safetensors"
    ),
    "gguf": ("crenel.scan.formats.gguf:scan_gguf", ("gguf",), "x.gguf"),
    "tflite": ("crenel.scan.formats.tflite:scan_tflite", ("tflite",), "x.tflite"),
    "onnx": ("crenel.scan.formats.onnx:scan_onnx", ("onnx",), "x.onnx"),
    "saved-model": (
        "crenel.scan.formats.tensorflow:scan_saved_model", ("saved-model",), "saved_model.pb"
    ),
    "meta-graph": (
        "crenel.scan.formats.tensorflow:scan_meta_graph", ("tensorflow-meta",), "x.meta"
    ),
    "keras-metadata": (
        "crenel.scan.formats.tensorflow:scan_keras_metadata", ("keras-metadata",), "k.pb"
    ),
    "checkpoint": ("crenel.scan.formats.checkpoint:scan_index", ("checkpoint-index",), "x.index"),
    "sentencepiece": (
        "crenel.scan.formats.sentencepiece:scan_sentencepiece", ("sentencepiece",), "x.model"
    ),
    "r-data": ("crenel.scan.formats.rdata:scan_rdata", ("r-data",), "x.rds"),
    "lightgbm": ("crenel.scan.formats.boosters:scan_lightgbm", ("lightgbm-text",), "x.txt"),
    "xgboost-ubjson": ("crenel.scan.formats.boosters:scan_ubjson", ("xgboost-ubjson",), "x.ubj"),
    "json": (
        "crenel.scan.formats.texts:scan_json", ("json", "json-lines", "xgboost-json"), "x.json"
    ),
    "jinja": ("crenel.scan.formats.texts:scan_text", ("jinja",), "x.jinja"),
    "yaml": ("crenel.scan.formats.yamls:scan_yaml", ("yaml", "mlflow"), "x.yaml"),
    "xml": ("crenel.scan.formats.xml:scan_xml", ("pmml", "openvino"), "x.pmml"),
    "source": ("crenel.scan.formats.texts:scan_text", ("source-code", "path-file"), "x.py"),
    "requirements": ("crenel.scan.formats.texts:scan_text", ("requirements",), "requirements.txt"),
    "columns": ("crenel.scan.formats.plain:scan_columns", ("parquet", "arrow"), "x.parquet"),
    "any": ("crenel.scan.dispatch:dispatch", ("7z", "lz4", "rar", "zstd", "unknown"), "x.bin"),
}  # fmt: skip


def target(name: str, folder: str, flags: list[str]) -> None:
    """Fuzz one parser in this process; never returns."""
    import importlib

    import atheris

    with atheris.instrument_imports(include=["crenel.scan"]):
        from crenel.scan.context import Context
        from crenel.scan.dispatch import dispatch
        from crenel.scan.policy import default_policy
        from crenel.scan.source import Budget, Unreadable, window_of
        from crenel.scan.verdict import Report, Verdict

        place, _, file = PARSERS[name]
        module, _, attribute = place.partition(":")
        attribute, _, argument = attribute.partition("(")
        reader = getattr(importlib.import_module(module), attribute)
    if argument:
        reader = reader(argument.rstrip(")"))
    policy = default_policy()

    def failed(context: Context, error: Exception) -> None:
        """Report damage; let a defect through to the fuzzer, which the scan would only tell."""
        if not isinstance(error, Unreadable):
            raise error
        context.add(error.code, error.sentence, Verdict.UNREADABLE, error.offset)

    Context.failed = failed  # type: ignore[method-assign]

    def one(data: bytes) -> None:
        report = Report()
        context = Context(report, policy, Budget(), file, dispatch)
        context.guarded(reader, window_of(data))
        report.verdict()

    atheris.Setup([sys.argv[0], *flags, folder], one)
    atheris.Fuzz()


def seeds(folder: Path) -> None:
    """Write the seeds of each parser into a folder of its own."""
    sys.path.insert(0, str(ROOT))
    from benchmarks.scan.benign import made
    from benchmarks.scan.harmful import harmful

    from crenel.scan import scan_bytes

    files = [(sample.name, sample.data) for sample in harmful()]
    files += [(name, data) for _, name, data in made() if len(data) <= LONGEST]
    for number, (name, data) in enumerate(files):
        found = scan_bytes(data, name).format
        for parser, (_, formats, _) in PARSERS.items():
            if found in formats or (parser == "any" and number % 20 == 0):
                place = folder / parser
                place.mkdir(exist_ok=True)
                (place / str(number)).write_bytes(data)


def _process(
    interpreter: str, parser: str, corpus: Path, flags: list[str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [interpreter, __file__, "--target", parser, str(corpus), *flags],
        capture_output=True, text=True, errors="replace", check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def _memory(said: str) -> int:
    """The peak of memory that libFuzzer tells, in MB."""
    return max(map(int, re.findall(r"rss: (\d+)Mb", said)), default=0)


@dataclass
class Told:
    """What the rounds of one parser came to."""

    base: int = 0
    seconds: float = 0
    tried: int = 0
    edges: int = 0
    kinds: dict[str, int] = field(default_factory=dict)


def fuzz(
    interpreter: str, parser: str, corpus: Path, keep: Path, seconds: int, told: Told
) -> None:  # fmt: skip
    """Fuzz one parser for some seconds, and add to what is told of it; goes on after a failure."""
    corpus.mkdir(exist_ok=True)
    keep.mkdir(parents=True, exist_ok=True)
    if not told.base:
        run = _process(interpreter, parser, corpus, ["-runs=1", "-rss_limit_mb=0"])
        told.base = _memory(run.stderr)
    began = time.monotonic()
    end = began + seconds
    while (left := int(end - time.monotonic())) > 0:
        flags = [
            f"-max_total_time={left}", f"-timeout={SECONDS}",
            f"-rss_limit_mb={told.base + MEGABYTES}", f"-max_len={LONGEST}",
            f"-artifact_prefix={keep}/", "-print_final_stats=1",
        ]  # fmt: skip
        run = _process(interpreter, parser, corpus, flags)
        told.tried += sum(map(int, re.findall(r"number_of_executed_units:\s*(\d+)", run.stderr)))
        told.edges = max([told.edges, *map(int, re.findall(r"\bcov: (\d+)", run.stderr))])
        if run.returncode == 0:
            break
        (keep / f"log-{int(time.monotonic())}").write_text(run.stderr[-20_000:])
        if "executed_units" not in run.stderr:
            raise SystemExit(run.stderr[-2000:])
    kinds: dict[str, int] = defaultdict(int)
    for file in keep.iterdir():
        kinds[file.name.partition("-")[0]] += 1
    kinds.pop("log", None)
    kinds.pop("slow", None)  # under the limit, only slower than most
    told.kinds = dict(kinds)
    told.seconds += time.monotonic() - began


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fuzzer", required=True)
    parser.add_argument("--seconds", type=int, default=180)
    parser.add_argument("--parser", nargs="+", choices=PARSERS, default=list(PARSERS))
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "crenel-fuzz")
    parser.add_argument("--corpus", type=Path, help="kept, and used again, where given")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    options = parser.parse_args()
    told = {each: Told() for each in options.parser}
    end = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as name:
        folder = options.corpus or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        if not any(folder.iterdir()):
            seeds(folder)
        for _ in range(options.rounds):
            for each, so_far in told.items():
                if time.monotonic() > end:
                    break
                place = options.keep / each
                fuzz(options.fuzzer, each, folder / each, place, options.seconds, so_far)
                print(
                    f"{each:15} {so_far.seconds:.0f} s, {so_far.tried} inputs, "
                    f"{so_far.edges} edges, failures {so_far.kinds or 'none'}",
                    flush=True,
                )
    return int(any(so_far.kinds for so_far in told.values()))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--target"]:
        target(sys.argv[2], sys.argv[3], sys.argv[4:])
    sys.exit(main())
