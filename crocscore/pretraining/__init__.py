"""Pretraining of the small models: image tower, vision-language model and dual encoder.

In: annotated scenes of the exact world (``croc build scenes``).
Out: a checkpoint of one of these models; ``croc train`` continues with the vision-language model.
"""
