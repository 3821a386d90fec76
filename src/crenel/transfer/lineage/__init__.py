"""Where a model comes from: its weights held against those of models it may be made from."""

from __future__ import annotations

from crenel.lazy import public

__all__, __getattr__ = public(
    __name__,
    {
        "Array": "weights",
        "Weights": "weights",
        "read_weights": "reading",
        "Layer": "records",
        "Lineage": "records",
        "Verdict": "records",
        "compare": "comparing",
        "trace": "comparing",
        "permutation_test": "similarity",
        "low_rank_share": "similarity",
        "permuted_channels": "permuted",
        "Description": "folders",
        "Papers": "folders",
        "describe": "folders",
        "compare_papers": "folders",
    },
)
