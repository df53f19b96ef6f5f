"""The tests that `probgen plugins check NAME` runs on an analysis."""

import os

from probgen.testing.analyses import AnalysisLaws


class TestAnalysis(AnalysisLaws):
    """The laws for the analysis in the environment variable PROBGEN_CHECK."""

    analysis = os.environ.get("PROBGEN_CHECK", "complete")
