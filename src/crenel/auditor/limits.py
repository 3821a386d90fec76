"""Limits of a worker process: memory, size of files, network."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from urllib.parse import urlsplit


def limit_memory(gigabytes: float) -> None:
    """Limit the data segment (heap and private mappings) of this process; Linux and macOS.

    RLIMIT_DATA rather than RLIMIT_AS: numerical libraries map far more address space than they
    ever touch.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limits; the parent's time limit still holds
        return
    size = int(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def limit_files(megabytes: int) -> None:
    """Limit the size of any one file that this process writes."""
    try:
        import resource
    except ImportError:
        return
    size = megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def forbid_network(allowed: Iterable[str] = ()) -> None:
    """Refuse connections from Python code in this process, but to the allowed URLs' hosts.

    An audit hook can not be removed again. It sees Python's sockets; native code that opens
    sockets of its own is outside its reach.
    """
    hosts = {urlsplit(url).hostname for url in allowed}

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "socket.getaddrinfo":
            host = arguments[0]
        elif event == "socket.connect":
            address = arguments[1]
            if not isinstance(address, tuple):  # a Unix socket stays on this machine
                return
            host = address[0]
            if hosts:  # a name was checked when it was resolved
                return
        else:
            return
        if host not in hosts:
            raise PermissionError(f"a network connection to {host} was refused during the audit")

    sys.addaudithook(hook)
