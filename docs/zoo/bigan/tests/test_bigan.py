from probgen.testing import FamilyLaws


class TestBiGAN(FamilyLaws):
    family = "bigan"
    options = {"hidden": (8,), "steps": 6, "batch_size": 20}
