"""The conformance kit: laws that every family and every analysis must satisfy. It requires pytest.

Example:
    from probgen.testing import AnalysisLaws, FamilyLaws

    class TestMine(FamilyLaws):
        family = "mine"

    class TestMyAnalysis(AnalysisLaws):
        analysis = "my-analysis"
"""

from __future__ import annotations

import pytest

# so that a failed law shows the compared values
pytest.register_assert_rewrite(
    *(f"probgen.testing.{module}" for module in ("laws", "densities", "analyses", "helpers"))
)

from probgen.testing.analyses import AnalysisLaws
from probgen.testing.checking import check
from probgen.testing.laws import FamilyLaws

__all__ = ["AnalysisLaws", "FamilyLaws", "check"]
