"""What `probgen plugins check NAME` runs against an analysis."""

import os

from probgen.testing.analyses import AnalysisLaws


class TestAnalysis(AnalysisLaws):
    """The laws, for the analysis that the environment names."""

    analysis = os.environ.get("PROBGEN_CHECK", "complete")
