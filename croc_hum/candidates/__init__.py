"""Candidate images for annotators, and the prompt pairs for which they are made.

In: rows of checks with candidate images; prompt pairs of each category (YAML).
Out: a Parquet file of items.
"""
