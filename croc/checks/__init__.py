"""Contrastive checks: what a row is, where rows come from, and how their images are decoded.

In: a folder, a Hub dataset, `datasets` objects or rows.
Out: validated rows with undecoded images, and RGB images on request.
"""
