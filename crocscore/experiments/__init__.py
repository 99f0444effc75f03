"""Experiments on what a yes/no metric learns from contrastive checks; each is one command.

In: a model, training questions and held-out checks; or a scorer and images from other sources.
Out: the numbers as JSON, and a plot.
"""
