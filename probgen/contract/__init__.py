"""What a family receives from probgen and what it returns: events, rows, runs, options, scores, hooks."""
