"""JSON for files and terminals, whatever the names and texts of scanned files hold."""

from __future__ import annotations

import json


def dumped(value: object, indent: int) -> str:
    """Return JSON; all in escapes where a text could not be written or would steer a terminal."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    if text.replace("\n", "").isprintable():
        return text
    return json.dumps(value, indent=indent, allow_nan=False)
