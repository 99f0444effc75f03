"""Supervised fine-tuning of a yes/no vision-language model on questions from contrastive checks.

In: a recipe (YAML) and a dataset of questions.
Out: a checkpoint with its log.
"""
