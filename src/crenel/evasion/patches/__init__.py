"""Patches and universal changes of images, and EVA-106."""
