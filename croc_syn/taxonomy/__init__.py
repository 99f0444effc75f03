"""What can be contrasted: topics, properties and entities, and the check specs they imply.

In: a taxonomy file (YAML).
Out: a validated taxonomy and an ordered list of check specs.
"""
