"""Plugins: found by entry points, listed from package metadata alone, imported when they are used."""
