"""The conformance kit: the laws that every family must meet. It needs pytest.

from probgen.testing import FamilyLaws

class TestMine(FamilyLaws):
    family = "mine"
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.register_assert_rewrite("probgen.testing.laws")  # so that a failed law says what it found

from probgen.testing.laws import FamilyLaws

__all__ = ["FamilyLaws", "check"]


def check(name: str) -> int:
    """Run the laws against a registered family; pytest's exit code."""
    os.environ["PROBGEN_CHECK_FAMILY"] = name
    suite = Path(__file__).with_name("suite.py")
    return int(
        pytest.main([str(suite), "-q", "-p", "no:cacheprovider", "--rootdir", str(suite.parent), "-rs"])
    )
