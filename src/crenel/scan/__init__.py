"""Static scan of model files: never loads, never executes, never trusts a name.

Every opcode of a pickle is run on a symbolic machine, and what would be called with what is judged
against an allowlist; archives and the native formats of the common libraries are read in place.
Whatever could not be read is said to be unreadable, never clean.
"""

from __future__ import annotations

from crenel.scan.holds import Hold, holds_of
from crenel.scan.loaders import LoaderHole, loader_holes
from crenel.scan.loading import load
from crenel.scan.scanner import scan_bytes, scan_file, scan_paths
from crenel.scan.shadowed import Shadowed, shadowed_by, shadowed_modules
from crenel.scan.source import digest
from crenel.scan.verdict import Reason, ScanResult, Verdict, exit_code, worst

__all__ = [
    "Hold",
    "LoaderHole",
    "Reason",
    "ScanResult",
    "Shadowed",
    "Verdict",
    "digest",
    "exit_code",
    "holds_of",
    "load",
    "loader_holes",
    "scan_bytes",
    "scan_file",
    "scan_paths",
    "shadowed_by",
    "shadowed_modules",
    "worst",
]
