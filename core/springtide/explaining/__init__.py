"""Why an item has its rank: the terms of its score, paths in the graph, influence, and what would change it.

Begin at ``why``.
"""
