"""The built-in families, one paper per file; they are found by name, as third-party families are."""
