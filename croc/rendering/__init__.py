"""A Report as terminal table, LaTeX, heatmap, HTML and page fragments; computes no number.

In: a Report or a leaderboard.
Out: text, images and HTML.
"""
