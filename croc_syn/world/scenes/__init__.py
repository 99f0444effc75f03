"""Scenes: sampled from a meaning, laid out, and checked by the oracle.

In: a meaning and a seed.
Out: a scene that fulfils it, and answers to whether a scene fulfils a prompt.
"""
