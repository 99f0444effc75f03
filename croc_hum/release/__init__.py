"""Votes → released checks, by a stated rule.

In: votes and items; sentences and votes of NLVR.
Out: rows of checks with every vote beside them.
"""
