"""Lists of packages for pip and conda: what would be installed from outside the registry."""

from __future__ import annotations

import re
from collections.abc import Iterator

from crenel.scan.context import Context
from crenel.scan.formats.places import Places
from crenel.scan.formats.zipfiles import leaves_folder
from crenel.scan.source import Unreadable, Window
from crenel.scan.verdict import Verdict

MAX_TEXT = 16 << 20
NAMES = re.compile(r"(?:^|/)(?:[\w.-]*requirements[\w.-]*\.(?:txt|in)|constraints\.txt)$", re.I)
# Files by which a folder is installed itself.
PROJECTS = re.compile(r"(?:^|/)(?:pyproject\.toml|setup\.cfg|Pipfile)$", re.I)
BACKEND = re.compile(r"^[ \t]*backend-path[ \t]*=.*", re.M)
SETTINGS = re.compile(r"(?:^|/)(?:pip\.(?:conf|ini)|\.condarc|\.pypirc)$", re.I)
INSTALLS = re.compile(
    r"(?:^[ \t-]*|[{,]\s*)[\"']?(?:dependencies|pip|build_dependencies)[\"']?[ \t]*:", re.MULTILINE
)
URL = re.compile(r"(?:git|hg|svn|bzr)\+\S+|(?:https?|ftps?|file|ssh|s3|gs)://\S+|git@\S+", re.I)
FROM = re.compile(rf"(?:^|@\s*|^\S*=\s*)({URL.pattern})", re.I)
# In the flow style of YAML, items follow one another on a line.
FLOW = re.compile(
    rf"[\[,{{:]\s*[\"']?((?:[\w.\[\]-]{{1,100}}\s*@\s*(?:{URL.pattern})|(?:git|hg|svn|bzr)\+\S+|"
    r"--(?:extra-)?index-url\S*|--find-links\S*))",
    re.I,
)
COMMENT = re.compile(r"(?:^|\s)#.*")
ITEM = re.compile(r"^\s*-\s+[\"']?(.*?)[\"']?\s*$")
OPTION = re.compile(r"(?:^|\s)(-[A-Za-z]|--[a-z-]+)(?:[ \t=]*)(\S*)")
# Short for options as pip takes them: any beginning of a long name.
SOURCES = ("--index-url", "--pypi-url", "--extra-index-url", "--find-links", "--trusted-host",
           "-i", "-f")  # fmt: skip
FILES = ("--requirement", "--constraint", "-r", "-c")
FOLDERS = ("--editable", "-e")
KEYS = re.compile(r"^[ \t]*(?:(?:extra-)?index-url|find-links|trusted-host|channels?|repository)"
                  r"[ \t]*[=:].*", re.I | re.M)  # fmt: skip


def is_requirements(name: str) -> bool:
    """Tell whether a file of that name lists packages for pip, or says where they come from."""
    return any(pattern.search(name) for pattern in (NAMES, SETTINGS, PROJECTS))


def judge_requirements(window: Window, context: Context) -> None:
    """Report packages that come from elsewhere than the registry, in pip's and conda's lists."""
    named = is_requirements(context.name)
    if len(window) > MAX_TEXT:
        if named:
            raise Unreadable("The list of packages is too long to read.", "over-budget")
        return
    text = window.read(0, len(window)).decode("utf-8-sig", "replace")
    found: Iterator[tuple[str, int]]
    if SETTINGS.search(context.name):
        found = ((match[0].strip(), match.start()) for match in KEYS.finditer(text))
    elif PROJECTS.search(context.name):
        found = _project(text)
    elif named:
        found = ((line, at) for line, at in _joined(text) if is_foreign(line))
    elif INSTALLS.search(text):
        found = _listed(text)
    else:
        return
    place = Places(text)
    for line, at in found:
        sentence = f"Installing what the model needs fetches {line.strip()[:100]} from outside the"
        sentence += " package registry; pin it by a digest, or leave it out."
        context.add("foreign-package", sentence, Verdict.REVIEW, place(at), line.strip()[:200])


def _project(text: str) -> Iterator[tuple[str, int]]:
    """Yield what a project's file takes from elsewhere: addresses, and a builder of its own."""
    pos = 0
    for line in text.splitlines(keepends=True):
        inline = FLOW.search(line[:10_000])
        item = line.strip().strip("\"',")
        if (
            inline is not None
            or BACKEND.match(line)
            or re.search(rf"\s@\s*(?:{URL.pattern})", item)
        ):
            yield (inline[1] if inline is not None else item), pos
        pos += len(line)


def _joined(text: str) -> Iterator[tuple[str, int]]:
    """Yield each line without its comment; a backslash at the end joins the next to it."""
    parts: list[str] = []
    start = pos = 0
    for line in text.splitlines(keepends=True):
        bare = line.rstrip("\r\n")
        start = start if parts else pos
        pos += len(line)
        comment = bare.lstrip().startswith("#")
        if bare.endswith("\\") and not comment:
            parts.append(bare[:-1])
            continue
        yield COMMENT.sub("", "".join([*parts, bare])), start
        parts = []
    yield COMMENT.sub("", "".join(parts)), start


def _listed(text: str) -> Iterator[tuple[str, int]]:
    """Yield the items of YAML's lists that come from elsewhere."""
    pos = 0
    for line in text.splitlines(keepends=True):
        item = ITEM.match(COMMENT.sub("", line.rstrip("\r\n")))
        inline = FLOW.search(line[:10_000])
        if item is not None and is_foreign(item[1]):
            yield item[1], pos
        elif inline is not None:
            yield inline[1], pos
        pos += len(line)


def is_foreign(line: str) -> bool:
    """Tell whether a line of a list of packages names another source, or an address."""
    line = line.strip()[:10_000]
    if FROM.search(line):
        return True
    for option, value in OPTION.findall(line):
        if _is(option, SOURCES) or _is(option, FOLDERS):
            return True
        if _is(option, FILES) and (URL.match(value) or leaves_folder(value)):
            return True
    return False


def _is(option: str, names: tuple[str, ...]) -> bool:
    if option[:2] != "--":
        return option in names
    return len(option) > 3 and any(name.startswith(option) for name in names)
