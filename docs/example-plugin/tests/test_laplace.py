from probgen.testing import FamilyLaws


class TestLaplace(FamilyLaws):
    family = "laplace"
