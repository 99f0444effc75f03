"""The audit of a reward: pools of candidates, the search for pictures that deceive, attacks on pixels.

In: names of scorers.
Out: a folder with the pools (a dataset of graded checks), score tables, what the search found, and a report
of :mod:`croc.reward_audit`.
"""
