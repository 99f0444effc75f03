"""The kinds, places, values and relations of the exact world, each declared once.

In: nothing; declarations are code, and use the drawing primitives of ``pen`` and ``backdrop``.
Out: registries that parser, sampler, renderer, oracle and taxonomy read.
"""
