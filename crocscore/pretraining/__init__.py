"""Pretraining of the small models: image tower, vision-language model and dual encoder.

In: annotated scenes of the exact world (``builders/scenes.py``).
Out: a checkpoint of one of these models; ``croc train`` continues with the vision-language model.
"""
