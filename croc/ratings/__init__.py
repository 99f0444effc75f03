"""Metrics against human ratings: correlation, intervals and significance.

In: a pair table with scores and ratings per item.
Out: correlations with intervals and tests.
"""
