"""The human-labelled benchmark: candidates → votes → agreement → released checks.

In: prompt pairs, or a build of generated checks; answers of annotators.
Out: checks with all votes; reports of agreement and of label noise.
"""
