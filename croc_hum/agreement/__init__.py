"""Agreement of annotators, and what it means for the evaluation of metrics.

In: a table of votes; score tables of the candidates.
Out: a report of agreement; rankings of metrics by annotator; label noise.
"""
