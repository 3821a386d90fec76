"""Models behind an HTTP endpoint: KServe v1 and MLflow, with the standard library alone."""

from __future__ import annotations

import base64
import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any, Literal
from urllib.parse import unquote, urlsplit, urlunsplit

import numpy as np
from numpy.typing import NDArray

from crenel.adapters.function import wrap_answers
from crenel.adapters.rows import is_frame, narrow
from crenel.errors import SubjectError, UsageError
from crenel.model import Model, Task

_RETRY = frozenset({429, 500, 502, 503, 504})
#: Longest wait before another try, seconds.
_LONGEST = 30.0


@dataclass(frozen=True)
class Endpoint:
    """How an endpoint is asked.

    Attributes
    ----------
    url : str
    protocol : {"kserve", "mlflow"} or None
        ``{"instances": [...]}`` or ``{"dataframe_split": {...}}``; where absent, MLflow for a URL
        that ends in ``/invocations`` and KServe for others.
    headers : mapping of str to str
        ``${NAME}`` stands for an environment variable.
    timeout : float
        Seconds for one request.
    batch : int
        Rows in one request.
    retries : int
        Further tries after 429, a 5xx or a broken connection.
    backoff : float
        Seconds before the first of these, doubled for each further one.
    """

    url: str
    protocol: Literal["kserve", "mlflow"] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 30.0
    batch: int = 256
    retries: int = 4
    backoff: float = 0.5

    @classmethod
    def of(cls, url: str, settings: Mapping[str, Any]) -> Endpoint:
        """An endpoint with the settings of a configuration, checked."""
        known = [f.name for f in fields(cls) if f.name != "url"]
        for key in settings:
            if key not in known:
                near = get_close_matches(key, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
                raise UsageError(f"endpoint: unknown key {key!r}; {hint}")
        made = cls(url, **settings)
        if made.protocol not in (None, "kserve", "mlflow"):
            raise UsageError(f"endpoint: protocol is {made.protocol!r}; use 'kserve' or 'mlflow'")
        if made.batch < 1 or made.timeout <= 0 or made.retries < 0:
            raise UsageError("endpoint: batch and timeout must be above 0, retries at least 0")
        return made

    @property
    def shown(self) -> str:
        """The URL without a password."""
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    @property
    def address(self) -> str:
        """The URL to ask, without a password."""
        parts = urlsplit(self.url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))

    def all_headers(self) -> dict[str, str]:
        """The headers of a request; a user and password in the URL become one of them."""
        headers = {"Content-Type": "application/json", **interpolated(self.headers)}
        user, at, _ = urlsplit(self.url).netloc.rpartition("@")
        if at:
            coded = base64.b64encode(unquote(user).encode()).decode()
            headers.setdefault("Authorization", f"Basic {coded}")
        return headers

    @property
    def is_mlflow(self) -> bool:
        """Whether it is asked in MLflow's way."""
        if self.protocol is not None:
            return self.protocol == "mlflow"
        return urlsplit(self.url).path.rstrip("/").endswith("/invocations")

    def ask(self, x: Any) -> list[Any]:
        """The answers to n rows: a label, a score, a list of scores or a map for each."""
        answers: list[Any] = []
        for start in range(0, len(x), self.batch):
            answers += self._batch(x[start : start + self.batch])
        return answers

    def _batch(self, rows: Any) -> list[Any]:
        body = json.dumps(self._body(rows), allow_nan=False).encode()
        reply = self._send(body)
        try:
            found = json.loads(reply)
        except ValueError as error:
            raise SubjectError(f"{self.shown} did not answer with JSON") from error
        answers = (
            found.get("predictions", found.get("outputs")) if isinstance(found, dict) else found
        )
        if not isinstance(answers, list):
            raise SubjectError(f'{self.shown} answered without a list of "predictions"')
        if len(answers) != len(rows):
            raise SubjectError(
                f"{self.shown} gave {len(answers)} predictions for {len(rows)} rows; "
                "it must give one for each"
            )
        return answers

    def _body(self, rows: Any) -> dict[str, Any]:
        if not self.is_mlflow:
            return {"instances": _values(rows)}
        if is_frame(rows):
            names = [str(c) for c in rows.columns]
            return {"dataframe_split": {"columns": names, "data": _values(rows)}}
        return {"inputs": _values(rows)}

    def _send(self, body: bytes) -> bytes:
        headers = self.all_headers()
        for attempt in range(self.retries + 1):
            request = urllib.request.Request(self.address, data=body, headers=headers)
            try:
                with urllib.request.urlopen(request, timeout=self.timeout) as reply:
                    return bytes(reply.read())
            except urllib.error.HTTPError as error:
                if error.code not in _RETRY or attempt == self.retries:
                    raise SubjectError(self._refused(error)) from error
                wait = _asked_to_wait(error.headers.get("Retry-After"))
            except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
                if attempt == self.retries:
                    reason = getattr(error, "reason", error)
                    raise SubjectError(
                        f"{self.shown} cannot be reached ({reason}; {attempt + 1} tries); "
                        "is the endpoint running, and is the URL right?"
                    ) from error
                wait = None
            time.sleep(min(_LONGEST, self.backoff * 2**attempt if wait is None else wait))
        raise AssertionError("every way out of the loop returns or raises")

    def _refused(self, error: urllib.error.HTTPError) -> str:
        detail = error.read(2000).decode("utf-8", "replace").strip().splitlines()
        said = f": {detail[0][:200]}" if detail else ""
        hint = {
            401: "; give endpoint.headers", 403: "; give endpoint.headers",
            404: "; is the path right?", 413: "; make endpoint.batch smaller",
        }.get(error.code, "")  # fmt: skip
        return f"{self.shown} answered {error.code} {error.reason}{said}{hint}"


def wrap_endpoint(
    url: str,
    settings: Mapping[str, Any],
    *,
    classes: Sequence[Any] | None = None,
    task: Task | None = None,
    columns: Sequence[str] | None = None,
    sample: Any = None,
) -> Model:
    """Make a `Model` of an HTTP endpoint.

    Parameters
    ----------
    url : str
        ``http://host/v1/models/name:predict`` (KServe v1) or ``http://host/invocations`` (MLflow).
    settings : mapping
        protocol, headers, timeout, batch, retries, backoff; see `Endpoint`.
    classes, task, columns, sample : optional
        See `crenel.adapters.wrap`.

    Raises
    ------
    UsageError
        Where a setting is wrong or an environment variable of a header is not set.
    SubjectError
        Where the endpoint cannot be reached or does not answer as described.
    """
    endpoint = Endpoint.of(url, settings)
    interpolated(endpoint.headers)
    few = None if sample is None else sample[: endpoint.batch]
    if classes is None and few is not None and len(few):
        first = endpoint.ask(narrow(few[:1], columns))[0]
        classes = list(first) if isinstance(first, dict) else None
    return wrap_answers(
        lambda x: _as_array(endpoint.ask(narrow(x, columns)), classes, endpoint.shown),
        endpoint.shown,
        framework="http",
        classes=classes,
        task=task,
        fit=None,
        columns=columns,
        sample=few,
        description=f"the endpoint {endpoint.shown}",
        remote=True,
    )


def interpolated(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers with ``${NAME}`` replaced by environment variables.

    Raises
    ------
    UsageError
        Where a variable is not set.
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise UsageError(f"endpoint.headers: the environment variable {name} is not set")
        return os.environ[name]

    return {k: re.sub(r"\$\{(\w+)\}", value, v) for k, v in headers.items()}


def _asked_to_wait(text: str | None) -> float | None:
    """Seconds of a Retry-After header, None where it gives none."""
    return float(text) if text is not None and text.strip().isdigit() else None


def _values(rows: Any) -> list[Any]:
    """Rows as JSON: missing values become null."""
    if is_frame(rows):
        columns = [_column(rows[c]) for c in rows.columns]
        return [list(row) for row in zip(*columns)]
    array = np.asarray(rows)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        gaps = ~np.isfinite(array)
        array = array.astype(object)
        array[gaps] = None
    return list(array.tolist())


def _column(column: Any) -> list[Any]:
    values = column.astype(object).where(column.notna(), None).tolist()
    return [v.item() if isinstance(v, np.generic) else _plain(v) for v in values]


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, bool)):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return str(value)


def _as_array(answers: list[Any], classes: Sequence[Any] | None, shown: str) -> NDArray[Any]:
    """Predictions as an array; maps of label to probability are put in the classes' order."""
    if answers and isinstance(answers[0], dict):
        names = list(answers[0]) if classes is None else [str(c) for c in classes]
        if not all(isinstance(a, dict) and set(a) == set(names) for a in answers):
            raise SubjectError(
                f"{shown} gave scores for the labels {list(answers[0])}, "
                f"and the classes are {names}"
            )
        answers = [[a[name] for name in names] for a in answers]
    try:
        return np.asarray(answers)
    except ValueError as error:
        raise SubjectError(f"{shown} gave predictions of different lengths") from error
