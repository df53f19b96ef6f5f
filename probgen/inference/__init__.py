"""Inference as functions over a pair: `svi`, `em`, `iwae`."""
