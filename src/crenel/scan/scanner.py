"""The scan of files, folders and bytes: the public functions of `crenel.scan`."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from crenel.errors import UsageError
from crenel.scan.context import Context, alone, unexpected
from crenel.scan.dispatch import dispatch
from crenel.scan.holds import found_in
from crenel.scan.policy import default_policy
from crenel.scan.source import Budget, Window, opened, window_of
from crenel.scan.verdict import Reason, Report, ScanResult, Verdict

PathLike = str | os.PathLike[str]
#: Bytes of all files together from which several processes scan them. Measured on two cores, they
#: save nothing of 1.2 GB, for they take a while to begin, and a third of the time of 4 GB.
SHARED = 2 << 30


def scan_file(path: PathLike) -> ScanResult:
    """Scan one file without loading it.

    Parameters
    ----------
    path : path
        A regular file, or a link to one.

    Returns
    -------
    ScanResult
        A file that cannot be opened or read, or on which the scanner itself fails, is
        ``unreadable``, not an error.

    Raises
    ------
    UsageError
        If nothing is there, or it is a folder.
    """
    place = Path(path)
    _must_exist(place)
    if place.is_dir():
        raise UsageError(f"{place} is a folder; scan_paths reads folders.")
    if not place.is_file():
        return _not_read(place, "It is not a regular file, so it was not read.")
    try:
        with opened(place) as window:
            return _scan(window, str(place), place.name, _neighbours(place.parent))
    except Exception as error:  # noqa: BLE001 - the other files of a folder are scanned nevertheless
        return _not_read(place, unexpected(error))


def scan_bytes(data: bytes, name: str = "bytes") -> ScanResult:
    """Scan bytes that are already in memory.

    Parameters
    ----------
    data : bytes
        The content of a file.
    name : str
        Stands for the path; it may raise suspicion but never lowers a verdict.
    """
    return _scan(window_of(data), name, name)


def scan_paths(paths: Iterable[PathLike]) -> list[ScanResult]:
    """Scan files, and folders with all that is in them, in a stable order.

    Parameters
    ----------
    paths : iterable of paths
        Links to folders inside a folder are not followed; links to files are.

    Raises
    ------
    UsageError
        If a path does not exist, before anything is scanned.
    """
    places = [Path(path) for path in paths]
    for place in places:
        _must_exist(place)
    return _all([file for place in places for file in _files(place)])


def _all(files: list[Path]) -> list[ScanResult]:
    """Scan files in order: in several processes where there is enough to read."""
    size = sum(_size(file) for file in files) if len(files) > 1 else 0
    if size < SHARED or (os.cpu_count() or 1) < 2:
        return [scan_file(file) for file in files]
    # the largest first, so that none of them is left to the end alone
    order = sorted(range(len(files)), key=lambda i: -_size(files[i]))
    results: dict[int, ScanResult] = {}
    if not _shared(order, files, results):
        for i in order:  # by itself each, to find the one on which a process ends
            if i not in results and not _shared([i], files, results):
                results[i] = _not_read(
                    files[i], "The process that scanned it was ended from outside."
                )
    return [results[i] for i in range(len(files))]


def _shared(order: list[int], files: list[Path], results: dict[int, ScanResult]) -> bool:
    """Scan files in other processes; tell whether none of these was ended, as by lack of memory."""
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import BrokenProcessPool

    try:
        with Parallel(n_jobs=-1, batch_size="auto", return_as="generator_unordered") as pool:
            # joblib keeps its processes, in the folder where they began: paths may be relative
            here = os.getcwd()
            results.update(pool(delayed(_numbered)(i, files[i], here) for i in order))
    except BrokenProcessPool:
        return False
    return True


def _numbered(i: int, file: Path, here: str) -> tuple[int, ScanResult]:
    with contextlib.chdir(here):
        return i, scan_file(file)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0  # scan_file says what is wrong with it


def _must_exist(place: Path) -> None:
    if not os.path.lexists(place):
        raise UsageError(f"There is no file or folder {place}; check the path.")


def _files(place: Path) -> Iterator[Path]:
    if not place.is_dir():
        yield place
        return
    for folder, names, files in os.walk(place):
        names.sort()
        for name in sorted(files):
            yield Path(folder) / name


def _not_read(place: Path, sentence: str) -> ScanResult:
    reason = Reason("not-read", sentence, Verdict.UNREADABLE)
    return ScanResult(str(place), "", "unknown", Verdict.UNREADABLE, [reason])


def _neighbours(folder: Path) -> Callable[[str], bool]:
    def beside(name: str) -> bool:
        safe = re.fullmatch(r"[\w-][\w./-]{0,200}", name) and ".." not in name
        return bool(safe) and (folder / name).is_file()

    return beside


def _scan(
    window: Window, path: str, name: str, beside: Callable[[str], bool] = alone
) -> ScanResult:
    report = Report()
    context = Context(report, default_policy(), Budget(), name, dispatch, beside=beside)
    found = context.guarded(dispatch, window) or "unknown"
    sha256 = hashlib.sha256()
    for chunk in window.chunks():
        sha256.update(chunk)
    modules = tuple(sorted(report.modules))
    digest = sha256.hexdigest()
    try:
        holds = found_in(report, path, found, window)
    except Exception as error:  # noqa: BLE001 - what was found stays told
        context.failed(error)
        holds = ()
    return ScanResult(path, digest, found, report.verdict(), report.reasons(), modules, holds)
