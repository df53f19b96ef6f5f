"""The tests that `probgen plugins check NAME` runs on a family."""

import os

from probgen.testing.laws import FamilyLaws


class TestFamily(FamilyLaws):
    """The laws for the family in the environment variable PROBGEN_CHECK."""

    family = os.environ.get("PROBGEN_CHECK", "independent")
