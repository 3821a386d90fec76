"""Attacks by gradients on networks, the tests that show that they worked, and EVA-101."""
