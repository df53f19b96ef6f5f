from probgen.testing import AnalysisLaws


class TestMoments(AnalysisLaws):
    analysis = "moments"
