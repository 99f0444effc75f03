"""The synthetic benchmark: taxonomy → check specs → prompts → images.

In: a taxonomy and a preset.
Out: folders of staged prompts and staged images, which the builders put into a dataset.
"""
