"""The only code that opens or writes files of results; it handles trees, arrays and bytes, not models."""
