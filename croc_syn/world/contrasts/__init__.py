"""Prompt pairs that differ in one property, and true and false prompts about a scene.

In: a property and a seed; or a scene.
Out: two prompts that no single image can satisfy; prompts that are true or false of the scene.
"""
