"""Rank agreement between benchmarks over the metrics that they share.

In: results on CROC and on others' benchmarks. Out: Kendall's tau-b of every two, with intervals.
"""
