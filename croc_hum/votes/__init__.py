"""The store of votes behind the page, its copy on the Hub, and tables of votes from any source.

In: answers of annotators; files of votes; exports of Label Studio.
Out: a table of votes, and a decision about each image.
"""
