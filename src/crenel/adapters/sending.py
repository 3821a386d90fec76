"""Requests to an endpoint: sent again with patience, no faster than allowed, and counted."""

from __future__ import annotations

import http.client
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol

from crenel.errors import SubjectError

#: Answers after which the same request is worth sending again.
_RETRY = frozenset({429, 500, 502, 503, 504})
#: Longest wait of our own before another try, seconds.
_LONGEST = 30.0


class Settings(Protocol):
    """What of an endpoint a sender needs; see `crenel.adapters.http.Endpoint`."""

    @property
    def address(self) -> str:
        """Where requests go."""

    @property
    def shown(self) -> str:
        """The address as messages name it."""

    @property
    def timeout(self) -> float:
        """Seconds for one request."""

    @property
    def retries(self) -> int:
        """Further tries."""

    @property
    def backoff(self) -> float:
        """Seconds before the first of them."""

    @property
    def patience(self) -> float:
        """Longest wait that the endpoint may ask for."""

    @property
    def rate(self) -> float | None:
        """Requests in a second at most."""

    def all_headers(self) -> dict[str, str]:
        """Headers of a request."""


class TooLarge(SubjectError):
    """The endpoint takes no requests of this size (413)."""


@dataclass
class Meter:
    """What was sent.

    Attributes
    ----------
    rows : int
        Rows answered.
    requests, tries : int
        Requests answered, and requests sent, with those that failed.
    seconds, waited : float
        Spent in requests, and between them: for the rate, and before another try.
    """

    rows: int = 0
    requests: int = 0
    tries: int = 0
    seconds: float = 0.0
    waited: float = 0.0


@dataclass
class Sender:
    """Sends the requests of one endpoint, whatever thread they come from.

    Attributes
    ----------
    to : Settings
    meter : Meter
    """

    to: Settings
    meter: Meter = field(default_factory=Meter)
    _free: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, to: Settings) -> Sender:
        """A sender that has sent nothing yet."""
        return cls(to)

    def send(self, body: bytes) -> bytes:
        """The body of the answer to a POST, after as many tries as are set.

        Raises
        ------
        crenel.errors.SubjectError
            Where the last try failed too, the endpoint refuses, or asks for more patience than
            is set.
        """
        for attempt in range(self.to.retries + 1):
            self._keep_rate()
            last = attempt == self.to.retries
            try:
                return self._once(body)
            except urllib.error.HTTPError as error:
                if error.code == 413:
                    raise TooLarge(self._refused(error)) from error
                if error.code not in _RETRY or last:
                    raise SubjectError(self._refused(error)) from error
                asked = asked_to_wait(error.headers.get("Retry-After"))
                if asked is not None and asked > self.to.patience:
                    raise SubjectError(
                        f"{self.to.shown} answered {error.code} and asks to wait {asked:.0f} s; "
                        "raise endpoint.patience, or run again later"
                    ) from error
            except (OSError, http.client.HTTPException) as error:
                if last:
                    reason = getattr(error, "reason", error) or type(error).__name__
                    raise SubjectError(
                        f"{self.to.shown} cannot be reached ({reason}; {attempt + 1} tries); "
                        "is the endpoint running, and is the URL right?"
                    ) from error
                asked = None
            own = min(_LONGEST, self.to.backoff * 2**attempt)
            self._wait(own if asked is None else asked)
        raise AssertionError("every way out of the loop returns or raises")

    def count(self, rows: int) -> None:
        """Add rows to those answered."""
        with self._lock:
            self.meter.rows += rows

    def _once(self, body: bytes) -> bytes:
        request = urllib.request.Request(self.to.address, data=body, headers=self.to.all_headers())
        begun = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=self.to.timeout) as reply:
                found = bytes(reply.read())
        finally:
            with self._lock:
                self.meter.tries += 1
                self.meter.seconds += time.monotonic() - begun
        with self._lock:
            self.meter.requests += 1
        return found

    def _keep_rate(self) -> None:
        """Wait for this request's turn."""
        if self.to.rate is None:
            return
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._free)
            self._free = turn + 1 / self.to.rate
        self._wait(turn - now)

    def _wait(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds)
            with self._lock:
                self.meter.waited += seconds

    def _refused(self, error: urllib.error.HTTPError) -> str:
        detail = error.read(2000).decode("utf-8", "replace").strip().splitlines()
        said = f": {detail[0][:200]}" if detail else ""
        hint = {
            401: "; give endpoint.headers", 403: "; give endpoint.headers",
            404: "; is the path right?", 413: "; make endpoint.batch smaller",
        }.get(error.code, "")  # fmt: skip
        return f"{self.to.shown} answered {error.code} {error.reason}{said}{hint}"


def asked_to_wait(text: str | None) -> float | None:
    """Seconds of a Retry-After header, a number or a date; None where it gives none."""
    if text is None:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
