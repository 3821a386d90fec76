"""Attacks by queries alone, for models that only answer: scores or decisions, budgets, curves."""

from __future__ import annotations

from crenel.evasion.blackbox.attack import QueryAttack, query_attack

__all__ = ["QueryAttack", "query_attack"]
