"""Risk 2, data poisoning: which records are bad, and how much harm could bad ones do."""

from __future__ import annotations

from crenel.lazy import public

__all__, __getattr__ = public(
    __name__,
    {
        "LabelScores": "labels",
        "PartitionEnsemble": "partition.ensemble",
        "Trigger": "triggers",
        "confident_joint": "labels",
        "dose_response": "dose",
        "find_triggers": "triggers",
        "knn_shapley": "shapley",
        "review_labels": "review",
        "source_effects": "sources",
        "wrong_labels": "labels",
    },
)
