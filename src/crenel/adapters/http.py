"""Models behind an HTTP endpoint: KServe v1 and MLflow, with the standard library alone."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any, Literal
from urllib.parse import unquote, urlsplit, urlunsplit

import numpy as np
from numpy.typing import NDArray

from crenel.adapters.function import wrap_answers
from crenel.adapters.rows import is_frame, narrow
from crenel.adapters.sending import Meter, Sender, TooLarge
from crenel.errors import SubjectError, UsageError
from crenel.model import Model, Task

#: Forms of an instance, in the order in which they are tried.
FORMS = ("lists", "values", "records")


@dataclass(frozen=True)
class Endpoint:
    """How an endpoint is asked.

    Attributes
    ----------
    url : str
    protocol : {"kserve", "mlflow"} or None
        ``{"instances": [...]}`` or ``{"dataframe_split": {...}}``; where absent, MLflow for a URL
        that ends in ``/invocations`` and KServe for others.
    rows : {"lists", "values", "records"} or None
        Each of KServe's instances as a list of the columns' values, as the value of a single
        column (models of texts take these), or as a map of column to value. Where absent, the
        first of these that the endpoint takes.
    headers : mapping of str to str
        ``${NAME}`` stands for an environment variable.
    timeout : float
        Seconds for one request.
    batch : int
        Rows in one request.
    retries : int
        Further tries after 429, a 5xx, a timeout or a broken connection.
    backoff : float
        Seconds before the first of these, doubled for each further one, unless the endpoint says
        by Retry-After how long to wait.
    patience : float
        Longest wait that it may ask for, seconds.
    rate : float or None
        Requests in a second at most.
    """

    url: str
    protocol: Literal["kserve", "mlflow"] | None = None
    rows: Literal["lists", "values", "records"] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 30.0
    batch: int = 256
    retries: int = 4
    backoff: float = 0.5
    patience: float = 120.0
    rate: float | None = None
    _sender: Sender = field(init=False, repr=False, compare=False)
    _paid: dict[bytes, list[Any]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "_sender", Sender.of(self))

    def __str__(self) -> str:
        return self.shown

    @classmethod
    def of(cls, url: str, settings: Mapping[str, Any]) -> Endpoint:
        """An endpoint with the settings of a configuration, checked."""
        known = [f.name for f in fields(cls) if f.init and f.name != "url"]
        for key in settings:
            if key not in known:
                near = get_close_matches(key, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
                raise UsageError(f"endpoint: unknown key {key!r}; {hint}")
        made = cls(url, **settings)
        if made.protocol not in (None, "kserve", "mlflow"):
            raise UsageError(f"endpoint: protocol is {made.protocol!r}; use 'kserve' or 'mlflow'")
        if made.rows not in (None, *FORMS):
            raise UsageError(f"endpoint: rows is {made.rows!r}; use one of {', '.join(FORMS)}")
        if made.batch < 1 or made.timeout <= 0 or made.retries < 0:
            raise UsageError("endpoint: batch and timeout must be above 0, retries at least 0")
        if made.patience < 0 or made.backoff < 0 or (made.rate is not None and made.rate <= 0):
            raise UsageError("endpoint: rate must be above 0, patience and backoff at least 0")
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
        """The answers to n rows: a label, a score, a list of scores or a map for each.

        Where a batch fails for good, answers to the batches before it are kept, and the same rows
        are not sent again when they are asked for once more.
        """
        done: dict[bytes, list[Any]] = {}
        answers: list[Any] = []
        try:
            for start in range(0, len(x), self.batch):
                answers += self._batch(x[start : start + self.batch], done)
        except SubjectError:
            self._paid.update(done)
            raise
        return answers

    def _batch(self, rows: Any, done: dict[bytes, list[Any]]) -> list[Any]:
        body = json.dumps(self._body(rows), allow_nan=False).encode()
        key = hashlib.sha256(body).digest()
        if key in self._paid:
            return done.setdefault(key, self._paid.pop(key))
        try:
            reply = self._sender.send(body)
        except TooLarge:
            if len(rows) < 2:
                raise
            half = len(rows) // 2
            return self._batch(rows[:half], done) + self._batch(rows[half:], done)
        done[key] = self._answers(reply, len(rows))
        self._sender.count(len(rows))
        return done[key]

    def _answers(self, reply: bytes, n: int) -> list[Any]:
        """The predictions in a reply to n rows."""
        try:
            found = json.loads(reply)
        except ValueError as error:
            raise SubjectError(f"{self.shown} did not answer with JSON") from error
        answers = (
            found.get("predictions", found.get("outputs")) if isinstance(found, dict) else found
        )
        if not isinstance(answers, list):
            raise SubjectError(f'{self.shown} answered without a list of "predictions"')
        if len(answers) != n:
            raise SubjectError(
                f"{self.shown} gave {len(answers)} predictions for {n} rows; "
                "it must give one for each"
            )
        return answers

    @property
    def meter(self) -> Meter:
        """What was sent so far."""
        return self._sender.meter

    def _body(self, rows: Any) -> dict[str, Any]:
        if not self.is_mlflow:
            return {"instances": _instances(rows, self.rows)}
        if is_frame(rows):
            names = [str(c) for c in rows.columns]
            return {"dataframe_split": {"columns": names, "data": _values(rows)}}
        return {"inputs": _values(rows)}


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
        protocol, rows, headers, timeout, batch, retries, backoff, patience, rate; see `Endpoint`.
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
    if few is not None and len(few):
        endpoint = _understood(endpoint, settings, narrow(few[:1], columns))
    if classes is None and few is not None and len(few):
        first = endpoint.ask(narrow(few[:1], columns))[0]
        classes = list(first) if isinstance(first, dict) else None
    return wrap_answers(
        lambda x: _as_array(endpoint.ask(narrow(x, columns)), classes, endpoint.shown),
        endpoint,
        framework="http",
        classes=classes,
        task=task,
        fit=None,
        columns=columns,
        sample=few,
        description=f"the endpoint {endpoint.shown}",
        remote=True,
    )


def _understood(endpoint: Endpoint, settings: Mapping[str, Any], row: Any) -> Endpoint:
    """The endpoint with the first form of instances that it takes; as it is where it takes none.

    Each form is sent once: what refuses all of them is asked again with patience, and says why.
    """
    if endpoint.is_mlflow or endpoint.rows is not None or not is_frame(row):
        return endpoint
    for form in FORMS:
        if form == "values" and len(row.columns) > 1:
            continue
        probe = Endpoint.of(endpoint.url, {**settings, "rows": form, "retries": 0})
        try:
            probe.ask(row)
        except SubjectError:
            continue
        return Endpoint.of(endpoint.url, {**settings, "rows": form})
    return endpoint


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


def _instances(rows: Any, form: str | None) -> list[Any]:
    """Rows as instances in one of `FORMS`."""
    values = _values(rows)
    if form == "records" and is_frame(rows):
        names = [str(c) for c in rows.columns]
        return [dict(zip(names, row)) for row in values]
    if form == "values":
        if any(not isinstance(row, list) or len(row) != 1 for row in values):
            raise UsageError("endpoint: rows = 'values' is for tables of a single column")
        return [row[0] for row in values]
    return values


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
