"""The public base as a weapon against what was tuned from it, and TRA-102."""
