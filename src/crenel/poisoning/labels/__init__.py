"""Wrong labels: found, reviewed, held back, and POI-101."""
