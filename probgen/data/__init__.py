"""The one way in for data: ingest, describe, check, wrap."""

from probgen.data.ingest import as_dataset

__all__ = ["as_dataset"]
