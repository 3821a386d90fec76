"""From targets to a run: plan, execute, judge; interrupted work is continued."""
