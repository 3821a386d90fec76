"""report.json: the run itself, with a published and versioned schema."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from crenel.errors import UsageError
from crenel.run import SCHEMA_VERSION, Run

SCHEMA_FILE = Path(__file__).parent / "schema" / f"report-{SCHEMA_VERSION}.json"


def to_json(run: Run) -> str:
    """The run as JSON text, indented, ASCII-safe nowhere: UTF-8.

    Figures of evidence that are not finite become null, since JSON has no word for them; those
    of curves are finite by construction. NumPy scalars and arrays become plain ones.
    """
    plain = run.model_copy(
        update={
            "findings": tuple(
                f.model_copy(
                    update={
                        "evidence": f.evidence.model_copy(
                            update={"values": finite(f.evidence.values)}
                        )
                    }
                )
                for f in run.findings
            )
        }
    )
    data = finite(plain.model_dump(mode="json", fallback=_plain))
    return json.dumps(data, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def finite(value: Any) -> Any:
    """The value with NumPy made plain, and null for figures that are not finite."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [finite(v) for v in value]
    if hasattr(value, "tolist") or hasattr(value, "item"):
        return finite(_plain(value))
    return value


def _plain(value: Any) -> Any:
    """NumPy as plain Python; anything else that JSON does not know as its text."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return value.item() if hasattr(value, "item") else str(value)


def from_json(text: str | bytes) -> Run:
    """The run of a report.json.

    A report of the same major version but a newer minor one is read without the fields that
    this version does not know.

    Raises
    ------
    UsageError
        Where the text is not JSON, not a report, or of a layout that this version cannot read.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise UsageError(f"the report is not JSON: {error}; give a report.json") from error
    version = data.get("schema_version") if isinstance(data, dict) else None
    if not isinstance(version, str) or not version.split(".")[0].isdigit():
        raise UsageError("the report has no schema_version; give a report.json that crenel wrote")
    if version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        raise UsageError(
            f"the report has layout {version}, this crenel reads {SCHEMA_VERSION}; "
            "use the version of crenel that wrote it"
        )
    try:
        return _validated(data, tolerant=version != SCHEMA_VERSION)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the top"
        raise UsageError(f"the report is damaged at {place}: {first['msg']}") from error


def _validated(data: dict[str, Any], tolerant: bool) -> Run:
    try:
        return Run.model_validate_json(json.dumps(data))
    except ValidationError as error:
        unknown = [e["loc"] for e in error.errors() if e["type"] == "extra_forbidden"]
        if not tolerant or not unknown:
            raise
    for place in unknown:
        node: Any = data
        parent = functools.reduce(lambda at, key: at[key], place[:-1], node)
        del parent[place[-1]]
    return Run.model_validate_json(json.dumps(data))


def schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of report.json."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:crenel:report:{SCHEMA_VERSION}",
        "version": SCHEMA_VERSION,
        **Run.model_json_schema(mode="serialization"),
        "title": "crenel report",
    }


def schema_text() -> str:
    """The schema as it is committed beside this module."""
    return json.dumps(schema(), ensure_ascii=False, indent=1) + "\n"
