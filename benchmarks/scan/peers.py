"""Asks one scanner about every file of a folder; runs in that scanner's own environment.

``python benchmarks/scan/peers.py TOOL FOLDER`` prints a line of JSON for each file: the name of
its own folder and
``alarm``, ``clean``, ``error`` (no verdict: an exception, a damaged file, ten seconds) or
``skipped`` (the tool says that it reads no such file). It needs nothing but the tool.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

SECONDS = 10


def crenel() -> Callable[[Path], str]:
    from crenel.scan import scan_file

    return lambda place: str(scan_file(place).verdict)


def picklescan(strict: bool = False) -> Callable[[Path], str]:
    from picklescan.scanner import scan_file_path

    def judge(place: Path) -> str:
        found = scan_file_path(str(place), strict=strict)
        if found.issues_count:
            return "alarm"
        return "error" if found.scan_err else "clean"

    return judge


def modelscan() -> Callable[[Path], str]:
    from modelscan.modelscan import ModelScan

    def judge(place: Path) -> str:
        found = ModelScan().scan(place)
        if found["summary"]["total_issues"]:
            return "alarm"
        if found["errors"]:
            return "error"
        return "clean" if found["summary"]["scanned"]["total_scanned"] else "skipped"

    return judge


def fickling() -> Callable[[Path], str]:
    import zipfile

    from fickling.analysis import Severity, check_safety
    from fickling.fickle import StackedPickle

    def streams(place: Path) -> list[bytes]:
        if not zipfile.is_zipfile(place):
            return [place.read_bytes()]
        with zipfile.ZipFile(place) as archive:
            return [archive.read(name) for name in archive.namelist() if name.endswith(".pkl")]

    def judge(place: Path) -> str:
        worst, count = Severity.LIKELY_SAFE, 0
        for data in streams(place):
            for pickled in StackedPickle.load(io.BytesIO(data)):
                worst, count = max(worst, check_safety(pickled).severity), count + 1
        if worst > Severity.LIKELY_SAFE:
            return "alarm"
        return "clean" if count else "skipped"

    return judge


def modelaudit() -> Callable[[Path], str]:
    os.environ |= {"PROMPTFOO_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
    from modelaudit.core import scan_model_directory_or_file

    def judge(place: Path) -> str:
        found = scan_model_directory_or_file(str(place))
        # its exit status is 1 for both of these severities
        if any(i.severity.name in ("WARNING", "CRITICAL") for i in found.issues):
            return "alarm"
        if found.has_errors or not found.success:
            return "error"
        unknown = all(asset.type == "unknown" for asset in found.assets)
        return "skipped" if unknown else "clean"

    return judge


TOOLS: dict[str, Callable[[], Callable[[Path], str]]] = {
    "crenel": crenel, "picklescan": picklescan, "picklescan --strict": lambda: picklescan(True),
    "modelscan": modelscan, "fickling": fickling, "modelaudit": modelaudit,
}  # fmt: skip


def _late(signum: int, frame: object) -> None:
    raise TimeoutError


def main() -> None:
    tool, folder = sys.argv[1], Path(sys.argv[2])
    judge = TOOLS[tool]()
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGALRM, _late)
    for place in sorted(file for file in folder.rglob("*") if file.is_file()):
        signal.alarm(SECONDS)
        try:
            with (
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                said = judge(place)
        except (Exception, RecursionError, SystemExit):  # noqa: BLE001 - whatever a peer raises
            said = "error"
        finally:
            signal.alarm(0)
        print(json.dumps({"name": place.parent.name, "said": said}), flush=True)


if __name__ == "__main__":
    main()
