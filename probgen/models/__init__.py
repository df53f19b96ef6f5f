"""The built-in families, one paper a file. They are reached by name, as a stranger's are."""
