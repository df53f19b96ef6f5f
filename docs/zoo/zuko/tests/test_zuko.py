from probgen.testing import FamilyLaws


class TestZuko(FamilyLaws):
    family = "zuko"
    options = {"transforms": 2, "hidden": (8,), "bins": 4, "steps": 6, "batch_size": 20}
