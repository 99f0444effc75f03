"""Pretraining of the small models: reading images of annotated scenes.

In: annotated scenes of the exact world.
Out: a small vision-language model or a dual encoder.
"""
