"""The parent's side of a worker process: ask, wait, kill, start again."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from crenel.auditor.execute import Result, outcome_of
from crenel.auditor.workplace import Loaded, Treated
from crenel.check import Level, load_checks
from crenel.errors import CrenelError, SubjectError
from crenel.finding import Finding
from crenel.run import State
from crenel.target import Target

#: Seconds that scanning and loading may take before the worker is given up.
LOAD_SECONDS = 300.0
#: A check's worker is killed after its allotted time so many times over, and some seconds more.
PATIENCE, GRACE = 1.5, 20.0
#: Checks share the cores among trainings of their own. A training that itself starts a thread for
#: each core makes each wait for all others, and takes many times as long.
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


class Hung(SubjectError):
    """The worker did not answer in time, or died."""


@dataclass
class Worker:
    """One worker process for one target, with the interface of `Workplace`.

    Attributes
    ----------
    target : Target
        Declared by paths and names only: it travels as JSON.
    root : Path
    log : Path
        Where the worker's standard error goes.
    memory : float
        GiB.
    jobs : int
        Threads at most.
    """

    target: Target
    root: Path
    log: Path
    memory: float = 8.0
    jobs: int = 2
    _process: subprocess.Popen[str] | None = None
    _answers: queue.Queue[str | None] = field(default_factory=queue.Queue)
    _loaded: bool = False

    def scan(self, *, seed: int, progress: Callable[[float], None]) -> Result:
        """See `Workplace.scan`; a worker that dies scanning is an error of the scan."""
        try:
            body = self._ask({"do": "scan", "seed": seed}, LOAD_SECONDS, progress)
        except Hung as error:
            return outcome_of(load_checks()["TRA-101"], self.target.name, State.ERROR, str(error))
        return Result.model_validate(body)

    def peek(self) -> dict[str, Any]:
        """See `Workplace.peek`."""
        return dict(self._ask({"do": "peek"}, LOAD_SECONDS))

    def load(self) -> Loaded:
        """See `Workplace.load`."""
        body = self._ask({"do": "load"}, LOAD_SECONDS)
        self._loaded = True
        return Loaded.model_validate(body)

    def measure(
        self,
        check: str,
        *,
        seed: int,
        seconds: float | None,
        jobs: int,
        progress: Callable[[float], None],
        level: Level = "standard",
    ) -> Result:
        """See `Workplace.measure`; a check that hangs or kills its worker ends as an error."""
        request = {
            "do": "measure", "check": check, "seed": seed, "seconds": seconds, "jobs": jobs,
            "level": level,
        }  # fmt: skip
        patience = None if seconds is None else seconds * PATIENCE + GRACE
        started = time.monotonic()
        try:
            if not self._loaded:  # the last check took the worker down with it
                self.load()
            return Result.model_validate(self._ask(request, patience, progress))
        except CrenelError as error:
            took = time.monotonic() - started
            kind = load_checks()[check]
            return outcome_of(kind, self.target.name, State.ERROR, str(error), took)

    def treat(self, remedy: str, finding: Finding, *, out: Path, seed: int, jobs: int) -> Treated:
        """See `Workplace.treat`."""
        request = {
            "do": "treat",
            "remedy": remedy,
            "finding": finding.model_dump(mode="json"),
            "out": str(out.resolve()),
            "seed": seed,
            "jobs": jobs,
        }
        return Treated.model_validate(self._ask(request, None))

    def close(self) -> None:
        """End the process, at once."""
        process, self._process, self._loaded = self._process, None, False
        if process is not None:
            process.kill()
            process.wait()

    def _ask(
        self,
        request: dict[str, Any],
        patience: float | None,
        progress: Callable[[float], None] = lambda share: None,
    ) -> Any:
        self._send(request)
        limit = None if patience is None else time.monotonic() + patience
        while True:
            wait = None if limit is None else max(0.0, limit - time.monotonic())
            try:
                line = self._answers.get(timeout=wait)
            except queue.Empty:
                self.close()
                raise Hung(
                    f"no answer in {patience:.0f} s, so the worker was stopped; "
                    "is the model hanging? Give more with --time"
                ) from None
            if line is None:
                code = self._process.wait() if self._process else None
                self.close()
                raise Hung(f"the worker process died (exit {code}); its log is {self.log}")
            message = json.loads(line)
            if message["kind"] == "progress":
                progress(message["body"])
            elif message["kind"] == "result":
                return message["body"]
            elif message["kind"] == "refused":
                error = SubjectError(message["body"]["sentence"])
                error.exit_code = message["body"]["exit_code"]
                raise error
            else:
                raise SubjectError(message["body"])

    def _send(self, request: dict[str, Any]) -> None:
        process = self._process or self._start()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            # The process is gone; the reader's end mark tells the caller.
            return

    def _start(self) -> subprocess.Popen[str]:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "crenel.auditor.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**THREADS, **os.environ},
                text=True,
                encoding="utf-8",
                start_new_session=True,  # Ctrl-C is for the parent to handle
            )
        self._process = process
        self._answers = queue.Queue()
        assert process.stdout is not None
        threading.Thread(target=_read, args=(process.stdout, self._answers), daemon=True).start()
        endpoint = str(self.target.model)
        hello = {
            "target": self.target.model_dump(mode="json", exclude_unset=True),
            "root": str(self.root.resolve()),
            "memory": self.memory,
            "jobs": self.jobs,
            "file_size": 4096,
            "endpoints": [endpoint] if endpoint.startswith(("http://", "https://")) else [],
        }
        self._send(hello)
        return process


def _read(stream: IO[str], answers: queue.Queue[str | None]) -> None:
    for line in stream:
        answers.put(line)
    answers.put(None)
