"""Votes: the store behind the annotation page, its backups, and reading votes of any source.

In: answers of annotators; vote tables and Label Studio exports.
Out: a table of votes and a decision per image.
"""
