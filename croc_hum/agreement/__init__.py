"""How far annotators agree, and what that means for the metrics.

In: a table of votes; score tables.
Out: an AgreementReport; rankings by annotator; label noise.
"""
