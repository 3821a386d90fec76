"""Sigstore's roots and services: from the network, as fetched last, or from a file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from crenel.errors import CrenelError, MissingExtra, UsageError
from crenel.provenance.model_files import printable

#: Characters that are shown of what the library, or a certificate, says.
_SHOWN = 240


def read_services(file: Path | None = None, *, staging: bool = False) -> Any:
    """Where to sign: Sigstore's public services as they are today, or those of a file.

    Parameters
    ----------
    file : Path, optional
        A client trust configuration (JSON) of a Sigstore of one's own.
    staging : bool
        Sigstore's services for trials.

    Returns
    -------
    sigstore.models.ClientTrustConfig

    Raises
    ------
    UsageError
        Where the file is none.
    CrenelError
        Where they cannot be asked for.
    """
    models = _models()
    if file is None:
        return _public(models, staging=staging, offline=False)
    content = _content(file)
    try:
        return models.ClientTrustConfig.from_json(content)
    except Exception as error:
        raise UsageError(f"{file} is no client trust configuration of Sigstore") from error


def read_roots(file: Path | None = None, *, staging: bool = False, offline: bool = False) -> Any:
    """What is trusted: Sigstore's roots as they are today, or those of a file.

    Parameters
    ----------
    file : Path, optional
        A trusted root (JSON), or a client trust configuration with one; no network is used.
    staging : bool
        The roots of Sigstore's services for trials.
    offline : bool
        Take the roots that were fetched last, or that came with the library.

    Returns
    -------
    sigstore.models.TrustedRoot

    Raises
    ------
    UsageError
        Where the file is none.
    CrenelError
        Where they cannot be asked for.
    """
    models = _models()
    if file is None:
        return _public(models, staging=staging, offline=offline).trusted_root
    content = _content(file)
    try:
        if b"clienttrustconfig" in content:
            return models.ClientTrustConfig.from_json(content).trusted_root
        return models.TrustedRoot.from_file(str(file))
    except Exception as error:
        raise UsageError(f"{file} is no trusted root of Sigstore") from error


def words(error: BaseException) -> str:
    """The first line of what an error says, fit for a terminal; may be empty."""
    return shown(str(error).partition("\n")[0])


def shown(text: str) -> str:
    """A text from elsewhere, short and fit for a terminal."""
    return printable(text)[:_SHOWN]


def _models() -> Any:
    """The library's models, its warnings left to whoever asks for a log."""
    try:
        from sigstore import models
    except ImportError as error:
        raise MissingExtra("sigstore", "sigstore") from error
    logger = logging.getLogger("sigstore")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return models


def _public(models: Any, *, staging: bool, offline: bool) -> Any:
    """Sigstore's own configuration, checked by its update framework (TUF)."""
    config = models.ClientTrustConfig
    try:
        return (config.staging if staging else config.production)(offline=offline)
    except Exception as error:
        if offline:
            told = f"Sigstore's roots cannot be read ({words(error)}); name a file of them"
        else:
            told = (
                "Sigstore's roots cannot be fetched: is there a network? Without one, signatures "
                "can be verified (--offline, or --trust-root FILE), not made"
            )
        raise CrenelError(told) from error


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
