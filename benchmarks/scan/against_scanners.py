"""Harmful files found and benign ones passed, by crenel's scanner and by others, in one run.

Run ``python benchmarks/scan/against_scanners.py [--tools DIR ...] [--old PYTHON] [--benign PATH
...]``. A DIR is the ``bin`` folder of an environment that has picklescan, modelscan, fickling or
modelaudit; PYTHON is the interpreter of one with older libraries, which make further benign files;
what is missing is said to be skipped. The harmful files are written here by hand, each with what
it would do, and are never loaded; the benign ones are made by the libraries at hand, shipped in
installed packages, or lie under the paths given. Every tool gets every file under the name that it
has in the wild.

Measured in one run on 726 harmful and 905 benign files, alarms / clean / no verdict (picklescan
1.0.5, modelscan 0.8.8, fickling 0.1.12, which lacks typing_extensions as pip installs it, and
modelaudit 0.2.54; the older libraries were scikit-learn 1.0.2, pandas 1.3.5, NumPy 1.21.6):

====================  ===============  ===============
scanner               harmful          benign
====================  ===============  ===============
crenel                707 /   0 /  19    1 / 887 /  17
picklescan            220 / 497 /   9   18 / 750 / 137
picklescan --strict   353 / 367 /   6  549 / 356 /   0
modelscan             135 / 212 / 379    0 / 438 / 467
fickling              339 /  27 / 360  301 /   0 / 604
modelaudit            484 /  76 / 166  673 /  99 / 133
====================  ===============  ===============

Of the benign files crenel is asked once more here: in that run 56 of the older libraries' alarmed,
whose blocks, losses and distances were not listed, and are now; so its figure is of files that it
was mended on. The harmful files are tricks that their authors thought of, and those of a review,
which crenel passed when they were first tried and reports since.

The exit status is 1 where a harmful file is clean to crenel, a benign one is dangerous or worse,
or more than 1 % of the benign ones are for review. Benign files in a format without a reader are
unreadable, and counted apart.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import sklearn

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
sys.path.insert(0, str(ROOT))

from benchmarks.scan import benign  # noqa: E402 - the root is on the path only now
from benchmarks.scan.harmful import harmful  # noqa: E402
from benchmarks.scan.sample import Sample  # noqa: E402

PEERS = {"picklescan": "picklescan", "picklescan --strict": "picklescan", "modelscan": "modelscan",
         "fickling": "fickling", "modelaudit": "modelaudit"}  # fmt: skip
Answers = dict[str, str]


def made(python: str, label: str) -> list[Sample]:
    """Benign files that an environment makes, in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        command = [python, "-W", "ignore", str(HERE / "benign.py"), name]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return under(Path(name), label)


def under(folder: Path, label: str) -> list[Sample]:
    """Every file below a folder; its family is the folder that it lies in."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return [
        Sample(label + (file.parent.name if label == "" or folder != file.parent else ""),
               file.name, file.read_bytes())
        for file in files
    ]  # fmt: skip


def benign_samples(options: argparse.Namespace) -> list[Sample]:
    found = [under(options.made, "")] if options.made else [made(sys.executable, "")]
    if options.old:
        found.append(made(options.old, "older: "))
    packages = Path(sklearn.__file__).parents[1]
    found.append([Sample(*file) for file in benign.shipped(packages)])
    found += [[Sample("given files", s.name, s.data) for s in under(p, "")] for p in options.benign]
    distinct = {sample.data: sample for part in reversed(found) for sample in reversed(part)}
    return sorted(distinct.values(), key=lambda sample: sample.family)


def laid(samples: list[Sample], folder: Path) -> dict[str, Sample]:
    """Write samples under names that are unique and keep their extension."""
    folder.mkdir()
    placed = {}
    for index, sample in enumerate(samples):
        place = folder / f"{index:04d}" / Path(sample.name).name
        place.parent.mkdir()
        place.write_bytes(sample.data)
        placed[f"{index:04d}"] = sample
    return placed


def answers(tool: str, python: str, folder: Path) -> Answers:
    """What a tool says of every file in a folder."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")} if tool == "crenel" else None
    command = [python, "-W", "ignore", str(HERE / "peers.py"), tool, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["name"]: line["said"] for line in lines}


def tools(folders: list[Path]) -> dict[str, str]:
    """The interpreter of each tool: of the first folder that has it."""
    found = {"crenel": sys.executable}
    given = [str(folder / "python") for folder in folders] or [sys.executable]
    for tool, package in PEERS.items():
        able = (python for python in given if _imports(python, package))
        if (python := next(able, None)) is not None:
            found[tool] = python
        else:
            print(f"skipped: {tool} is not installed; give --tools")
    return found


def _imports(python: str, package: str) -> bool:
    probe = [python, "-c", f"import {package}"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def table(title: str, samples: dict[str, Sample], said: dict[str, Answers]) -> None:
    """Print, by family, how many files each tool alarms at / passes / gives no verdict on."""
    print(f"\n{title}\nfamily".ljust(len(title) + 26), *(f"{tool:>20}" for tool in said))
    counts: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for key, sample in samples.items():
        for tool, answer in said.items():
            for family in (sample.family, "all"):
                counts[family][tool][kind(answer[key])] += 1
    counts["all"] = counts.pop("all")
    for family, by_tool in counts.items():
        total = next(iter(by_tool.values())).total()
        cells = [f"{c['alarm']} / {c['clean']} / {c['none']}" for c in by_tool.values()]
        print(f"{family[:20]:20} {total:4}", *(f"{cell:>20}" for cell in cells))


def kind(answer: str) -> str:
    if answer in ("error", "skipped", "unreadable"):
        return "none"
    return "clean" if answer == "clean" else "alarm"


def judge(harm: dict[str, Sample], good: dict[str, Sample], ours: tuple[Answers, Answers]) -> bool:
    """Name every miss and false alarm of crenel; tell whether the claim holds."""
    missed = [sample for key, sample in harm.items() if ours[0][key] == "clean"]
    for sample in missed:
        print(f"MISSED: {sample.family}: {sample.name}: {sample.why}")
    verdicts = Counter(ours[1].values())
    for key, sample in good.items():
        if ours[1][key] != "clean":
            print(f"benign, {ours[1][key]}: {sample.family}: {sample.name}")
    print(f"\ncrenel on {len(harm)} harmful files: {dict(Counter(ours[0].values()))}")
    print(f"crenel on {len(good)} benign files: {dict(verdicts)}")
    wrong = verdicts["dangerous"] + verdicts["malicious"] + verdicts["error"]
    return not missed and not wrong and verdicts["review"] <= 0.01 * len(good)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tools", type=Path, nargs="*", default=[])
    parser.add_argument("--old")
    parser.add_argument("--made", type=Path, help="a folder that benign.py wrote before")
    parser.add_argument("--benign", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        harm = laid(harmful(), Path(name) / "harmful")
        good = laid(benign_samples(options), Path(name) / "benign")
        found = tools(options.tools)
        said = [
            {tool: answers(tool, python, Path(name) / part) for tool, python in found.items()}
            for part in ("harmful", "benign")
        ]
    print("each cell: alarms / clean / no verdict (error, skipped, unreadable)")
    table("harmful", harm, said[0])
    table("benign", good, said[1])
    return 0 if judge(harm, good, (said[0]["crenel"], said[1]["crenel"])) else 1


if __name__ == "__main__":
    sys.exit(main())
