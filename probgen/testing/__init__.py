"""The conformance kit: laws that every family and every analysis must satisfy. It requires pytest.

Example:
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

# so that a failed law shows the compared values
pytest.register_assert_rewrite(
    *(f"probgen.testing.{module}" for module in ("laws", "densities", "analyses", "helpers"))
)

from probgen.testing.analyses import AnalysisLaws
from probgen.testing.laws import FamilyLaws

__all__ = ["AnalysisLaws", "FamilyLaws", "check"]


def check(name: str, kind: str = "family") -> int:
    """Run the laws on a registered family or analysis.

    Args:
        name: The registered name.
        kind: "family" or "analysis".

    Returns:
        The exit code of pytest: 0 if all laws hold, 5 if every law was skipped.
    """
    os.environ["PROBGEN_CHECK"] = name
    suite, passed = Path(__file__).with_name(f"{kind}_suite.py"), _Passed()
    arguments = [str(suite), "-q", "-p", "no:cacheprovider", "--rootdir", str(suite.parent), "-rs"]
    code = int(pytest.main(arguments, plugins=[passed]))
    return code or (0 if passed.n else int(pytest.ExitCode.NO_TESTS_COLLECTED))


class _Passed:
    """The number of laws that were tested and hold."""

    n = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.n += report.when == "call" and report.passed
