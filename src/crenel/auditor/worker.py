"""The worker process: ``python -m crenel.auditor.worker``.

It reads one JSON request a line from standard input and answers with JSON lines on what was its
standard output; whatever user code prints goes to standard error instead, which is a log file.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

from crenel.auditor.execute import one_line
from crenel.auditor.limits import forbid_network, limit_files, limit_memory
from crenel.errors import CrenelError

log = logging.getLogger("crenel")


def main() -> None:
    """Serve requests until standard input closes."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    logging.captureWarnings(True)
    hello = json.loads(sys.stdin.readline())
    limit_memory(hello["memory"])
    limit_files(hello["file_size"])
    forbid_network(hello["endpoints"])
    sys.path.insert(0, hello["root"])
    os.chdir(hello["root"])

    from crenel.auditor.workplace import Workplace
    from crenel.target import Target

    place = Workplace(Target.model_validate(hello["target"]), Path(hello["root"]))
    for line in sys.stdin:
        answer(place, json.loads(line), answers)
        _spread(hello["jobs"])


def _end_with(parent: int) -> None:
    """End this process when its parent is gone, however that ended, whatever the model does."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _spread(jobs: int) -> None:
    """Let torch, where the model brought it, use the cores: its checks run one at a time."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != jobs:
        torch.set_num_threads(jobs)


def answer(place: Any, request: dict[str, Any], answers: IO[str]) -> None:
    """Do one request and write its answer: a result, or an error that says whose fault it is."""

    def send(kind: str, body: Any) -> None:
        answers.write(json.dumps({"kind": kind, "body": body}) + "\n")

    def progress(share: float) -> None:
        send("progress", share)

    try:
        send("result", _do(place, request, progress))
    except CrenelError as error:
        send("refused", {"sentence": str(error), "exit_code": error.exit_code})
    except MemoryError:
        log.exception("%s", request["do"])
        send("failed", "ran out of memory; give more with [audit] memory")
    except Exception as error:  # the parent must hear of it, whatever it is
        log.exception("%s", request["do"])
        send("failed", one_line(error))


def _do(place: Any, request: dict[str, Any], progress: Any) -> Any:
    from crenel.finding import Finding

    request = dict(request)
    what = request.pop("do")
    if what == "scan":
        return place.scan(progress=progress, **request).model_dump(mode="json")
    if what == "peek":
        return place.peek()
    if what == "load":
        return place.load().model_dump(mode="json")
    if what == "measure":
        return place.measure(progress=progress, **request).model_dump(mode="json")
    if what == "treat":
        request["finding"] = Finding.model_validate(request["finding"])
        request["out"] = Path(request["out"])
        return place.treat(**request).model_dump(mode="json")
    raise ValueError(f"unknown request {what!r}")


if __name__ == "__main__":
    main()
