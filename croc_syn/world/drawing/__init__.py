"""Scene → SVG → PNG.

In: a scene, or a prompt and a seed.
Out: an image; its scene travels in the PNG.
"""
