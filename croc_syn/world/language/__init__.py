"""The controlled English: parsing a prompt, and wording one.

In: a prompt; or a kind, a value or a relation.
Out: its meaning, that is, the requirements that an image has to satisfy; or an English phrase.
"""
