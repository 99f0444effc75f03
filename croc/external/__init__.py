"""Others' benchmarks: read as published, their published figures computed again.

In: files that other authors released. Out: rated or contrastive items in one schema, and the figures.
"""
