"""The calls of probgen: fit, sample, score, decode, analyze and others, one call per file.

Each call checks its input once, calls the family or the analysis, and adds the provenance to the result.
This module imports nothing, so that a fit does not import a diagnosis.
"""
