"""The only code that opens or writes files of results.

The room handles trees, arrays and bytes, not models.
"""
