"""The interface of families: events, rows, runs, options, scores and hooks."""
