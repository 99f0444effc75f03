"""The renderer: scene → SVG → PNG.

In: a scene, or a prompt and a seed.
Out: a PNG image that carries its scene in a text chunk.
"""
