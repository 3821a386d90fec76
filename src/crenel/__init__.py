"""Audit, harden and guard machine-learning systems against five security risks."""
