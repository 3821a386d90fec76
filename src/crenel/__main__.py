"""``python -m crenel``."""

from crenel.cli import main

main()
