from probgen.testing import FamilyLaws


class TestMinigan(FamilyLaws):
    family = "minigan"
    options = {"steps": 6, "batch_size": 20, "units": 8}
