"""The kinds, places, values and relations of the exact world, each declared once.

In: nothing: declarations are code.
Out: registries that grammar, renderer, oracle and taxonomy read.
"""
