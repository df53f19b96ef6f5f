"""The built-in analyses, one a file. Each is a module with `Options`, `needs`, `applies`, `run` and `figures`."""
