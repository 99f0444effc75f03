"""What a yes/no metric learns from contrast: experiments, each one command.

In: a model, checks and annotated scenes.
Out: results as JSON, a plot and a paragraph.
"""
