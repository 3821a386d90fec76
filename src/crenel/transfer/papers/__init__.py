"""What a model says of itself, held against what it is, and TRA-103."""
