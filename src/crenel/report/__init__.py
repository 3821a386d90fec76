"""One view model of a run, and the formats that show it."""
