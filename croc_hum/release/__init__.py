"""Checks from votes, by a rule.

In: votes and items.
Out: rows of checks with all their votes.
"""
