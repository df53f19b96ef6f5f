"""fit, sample, score, decode, analyze: check the input once, call the family or the analysis, stamp what comes out.

One call a file; nothing is imported here, so that a fit does not pay for a diagnosis.
"""
