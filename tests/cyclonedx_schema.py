"""The schema of CycloneDX 1.6, as its own library ships it."""

import json
from pathlib import Path

import jsonschema
import pytest


def validator():
    """A validator; the test is skipped where the library is not installed."""
    schemas = pytest.importorskip("cyclonedx.schema._res")
    from referencing import Registry, Resource

    folder = Path(next(iter(schemas.__path__)))
    read = {
        name: json.loads((folder / f"{name}.SNAPSHOT.schema.json").read_text(encoding="utf-8"))
        for name in ("bom-1.6", "spdx", "jsf-0.82")
    }
    registry = Registry().with_resources(
        (f"http://cyclonedx.org/schema/{name}.SNAPSHOT.schema.json", Resource.from_contents(schema))
        for name, schema in read.items()
    )
    return jsonschema.Draft7Validator(read["bom-1.6"], registry=registry)
