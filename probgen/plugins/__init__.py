"""Plugins: found by entry points, listed from package metadata alone, and imported at their first use."""
