"""Results files and the leaderboard: what one metric reached on one benchmark, for others to verify.

In: a Report and the score tables it came from; results files of others.
Out: results files, verified results, a leaderboard.
"""
