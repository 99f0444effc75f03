"""Pairs of prompts that differ in one property, and true and false claims about a scene.

In: a property and a random generator; or a scene.
Out: prompt pairs that no image can satisfy both.
"""
