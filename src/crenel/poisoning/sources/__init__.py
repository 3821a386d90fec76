"""Who supplied the rows, what theirs do and could do, and POI-103."""
