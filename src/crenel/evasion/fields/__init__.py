"""Search in the user's own columns: few fields, legal values, and EVA-102."""
