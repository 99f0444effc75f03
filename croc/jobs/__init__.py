"""The resumable runner: plan, part, atomic file, manifest; and who runs the parts.

In: a list of parts and a pure function that makes one file of one part.
Out: a folder of files with a manifest, the same for any number of workers.
"""
