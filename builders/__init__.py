"""Builders of datasets: staged images or votes → sharded Parquet, verified and published.

In: folders of staged rows, files of votes, or the authors' release.
Out: a folder that ``datasets.load_dataset`` reads, with card and manifest; its copy on the Hub.
"""
