"""Fetch what URLs serve now: few bytes, little time, public addresses only."""

from __future__ import annotations

import ipaddress
import socket
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

#: Bytes that are read of one URL, and seconds that it may take to answer.
MOST, PATIENCE = 50_000_000, 20.0
_AT_ONCE = 8
_AGENT = "crenel-provenance"


class Refused(Exception):
    """A URL that is not fetched; the text is the reason."""


def fetch_all(urls: Sequence[str], *, private: bool = False) -> list[bytes | str]:
    """Fetch URLs, eight at a time.

    Parameters
    ----------
    urls : sequence of str
    private : bool
        Whether addresses that are not public may be asked. The list is somebody else's: it could
        name a service inside one's own network.

    Returns
    -------
    list of bytes or str
        The content, or why there is none, in the order of the URLs.
    """
    opener = urllib.request.build_opener(_Public(private))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(lambda url: _fetch(opener, url, private), urls))


def _fetch(opener: Any, url: str, private: bool) -> bytes | str:
    try:
        check_url(url, private)
        request = urllib.request.Request(url, headers={"User-Agent": _AGENT})
        with opener.open(request, timeout=PATIENCE) as response:
            content: bytes = response.read(MOST + 1)
    except urllib.error.HTTPError as error:
        return f"the server answers {error.code}"
    except Refused as error:
        return str(error)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return f"it cannot be fetched: {reason}"
    return content if len(content) <= MOST else f"it is larger than {MOST:,} bytes"


def check_url(url: str, private: bool) -> None:
    """Refuse what is not http(s), and hosts without a public address unless ``private``.

    Raises
    ------
    Refused
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Refused("only http and https are fetched")
    if private:
        return
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or parts.scheme)
    except OSError as error:
        raise Refused(f"its host is not known: {parts.hostname}") from error
    for *_, address in found:
        if not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_global:
            raise Refused(f"its host {parts.hostname} has an address that is not public")


class _Public(urllib.request.HTTPRedirectHandler):
    """Redirects are held to the same rule."""

    def __init__(self, private: bool) -> None:
        self.private = private

    def redirect_request(self, *given: Any) -> Any:
        """Check where a redirect leads before it is followed."""
        check_url(str(given[-1]), self.private)
        return super().redirect_request(*given)
