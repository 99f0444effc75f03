"""Builders that write the datasets as sharded Parquet, for a local folder or the Hub."""
