"""The conformance kit: the laws that every family and every analysis must meet. It needs pytest.

from probgen.testing import AnalysisLaws, FamilyLaws

class TestMine(FamilyLaws):
    family = "mine"

class TestMyAnalysis(AnalysisLaws):
    analysis = "my-analysis"
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# so that a failed law says what it found
pytest.register_assert_rewrite("probgen.testing.laws", "probgen.testing.analyses", "probgen.testing.helpers")

from probgen.testing.analyses import AnalysisLaws
from probgen.testing.laws import FamilyLaws

__all__ = ["AnalysisLaws", "FamilyLaws", "check"]


def check(name: str, kind: str = "family") -> int:
    """Run the laws against a registered family or analysis (`kind`); pytest's exit code."""
    os.environ["PROBGEN_CHECK"] = name
    suite = Path(__file__).with_name(f"{kind}_suite.py")
    return int(
        pytest.main([str(suite), "-q", "-p", "no:cacheprovider", "--rootdir", str(suite.parent), "-rs"])
    )
