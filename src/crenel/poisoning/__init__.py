"""Risk 2, data poisoning: which records are bad, and how much harm could bad ones do."""

from __future__ import annotations

from crenel.lazy import public

__all__, __getattr__ = public(
    __name__,
    {
        "LabelScores": "labels.wrong",
        "PartitionEnsemble": "partition.ensemble",
        "Trigger": "triggers",
        "confident_joint": "labels.wrong",
        "dose_response": "dose.response",
        "find_triggers": "triggers",
        "knn_shapley": "sources.shapley",
        "review_labels": "labels.review",
        "source_effects": "sources.effects",
        "wrong_labels": "labels.wrong",
    },
)
