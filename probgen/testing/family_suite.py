"""What `probgen plugins check NAME` runs against a family."""

import os

from probgen.testing.laws import FamilyLaws


class TestFamily(FamilyLaws):
    """The laws, for the family that the environment names."""

    family = os.environ.get("PROBGEN_CHECK", "independent")
