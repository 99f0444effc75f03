"""Scenes: sampled from a meaning, laid out, and checked by the oracle.

In: a meaning and a seed; or a scene and a prompt.
Out: a scene that satisfies the meaning; or whether the scene satisfies the prompt.
"""
