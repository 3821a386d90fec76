"""Where data comes from: row digests, signed manifests, differences, a gate; signed models."""

from __future__ import annotations

from crenel.lazy import public

__all__, __getattr__ = public(
    __name__,
    {
        "Difference": "difference",
        "Manifest": "manifest",
        "RowIndex": "index",
        "Signature": "perceptual",
        "as_columns": "columns",
        "check_views": "split_view",
        "compare_indexes": "difference",
        "gate": "incoming",
        "inclusion_path": "merkle",
        "index_rows": "rows",
        "merkle_root": "merkle",
        "read_columns": "reading",
        "read_published": "published",
        "record": "recording",
        "root_from_path": "merkle",
        "row_digests": "rows",
        "sign_model": "model_signature",
        "signature": "perceptual",
        "verify": "verification",
        "verify_model": "model_signature",
        "verify_published": "published",
    },
)
