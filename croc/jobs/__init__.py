"""The resumable runner (plan, parts, atomic files, manifest) and the executors that make the parts.

In: a list of parts and a pure function that makes one file from one part.
Out: a folder of files with a manifest, the same for any number of workers.
"""
