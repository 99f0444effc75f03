"""Checks × scorers → score tables.

In: checks and scorers, or scores that were computed elsewhere.
Out: one Parquet score table per scorer; an interrupted run resumes.
"""
