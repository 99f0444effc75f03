"""A module per benchmark: its metadata, its reader and its published figures.

In: the folder of a benchmark. Out: ``BENCHMARK``, see :class:`croc.external.benchmark.Benchmark`.
"""
