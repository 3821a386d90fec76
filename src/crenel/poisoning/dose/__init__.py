"""Harm against rows poisoned, by training again, and POI-102."""
