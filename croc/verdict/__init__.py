"""Score tables → numbers: the four directions, aggregation, statistics, findings.

In: score tables of one or more metrics on the same checks.
Out: a Report: accuracies, intervals, tests and findings, each with its signature.
"""
