"""Behaviour that a network hides: triggers recovered from its weights and a few clean images."""
