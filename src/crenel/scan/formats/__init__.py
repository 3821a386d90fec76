"""Readers, one module per family of formats; each takes a window and a context."""
