"""The only code that opens or writes files of results. It knows trees, arrays and bytes, nothing of models."""
