"""Score tables and pair tables: the files between running a metric and evaluating it.

In: Parquet, CSV and TSV files, those of other tools and of the published release included.
Out: validated tables, one per metric.
"""
