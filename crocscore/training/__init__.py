"""Supervised fine-tuning of a yes/no vision-language model on questions from contrastive checks.

In: a recipe (YAML), and a folder of questions.
Out: a checkpoint with its recipe, its log, and its results on held-out checks.
"""
