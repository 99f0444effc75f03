"""CROCScore: a metric that is trained on contrastive checks, with its training and its small models.

In: images and prompts; for training, questions that ``croc build train`` makes from checks.
Out: scores, probabilities and explanations; trained checkpoints.
"""
