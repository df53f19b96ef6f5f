"""The tests that `probgen plugins check NAME` runs on a family without test classes of its own."""

import os

from probgen.plugins.family import family
from probgen.testing.laws import FamilyLaws

NAME = os.environ.get("PROBGEN_CHECK", "independent")
SUPPORTS = family(NAME).supports

if SUPPORTS - {"count", "mixed"}:

    class TestFamily(FamilyLaws):
        """The laws for the family in the environment variable PROBGEN_CHECK."""

        family = NAME


if "count" in SUPPORTS:

    class TestFamilyOfCounts(FamilyLaws):
        """The laws for the family with counts."""

        family = NAME
        support = "count"


if "mixed" in SUPPORTS:

    class TestFamilyOfTables(FamilyLaws):
        """The laws for the family with a table of four kinds of columns."""

        family = NAME
        support = "mixed"
