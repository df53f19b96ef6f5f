"""Conversion of user data to one checked xarray Dataset: ingest, describe, check, wrap."""

from probgen.data.ingest import as_dataset

__all__ = ["as_dataset"]
