"""Candidate images that people judge, and the prompt pairs they are made for.

In: rows of checks with candidate images; prompt pairs of each category (YAML).
Out: one Parquet file of items.
"""
