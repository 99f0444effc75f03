"""The controlled English: grammar, vocabulary and meaning.

In: a prompt.
Out: its meaning: the requirements that an image has to fulfil.
"""
