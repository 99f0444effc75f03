"""Own images: scores of pairs of an image and a prompt, and their means.

In: image files with prompts, a table of them, or a dataset.
Out: a table with a column per metric.
"""
