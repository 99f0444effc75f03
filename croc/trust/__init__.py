"""Whether a metric can be trusted on given prompts, from the properties that they depend on and its results.

In: prompts, and results of metrics by property.
Out: for each prompt and metric the chance that a correct image gets a higher score than a nearly correct one.
"""
