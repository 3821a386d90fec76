"""Bills of materials of models: CycloneDX with a model card, written and read."""

from __future__ import annotations

from crenel.lazy import public

__all__, __getattr__ = public(
    __name__,
    {
        "Bom": "reading",
        "bom_beside": "reading",
        "describe_model": "described",
        "read_bom": "reading",
        "to_cyclonedx": "writing",
        "verify_bom": "verifying",
    },
)
