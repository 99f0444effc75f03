"""Checks from votes, by a rule.

In: votes and items; sentences and votes of NLVR.
Out: rows of checks with all their votes.
"""
