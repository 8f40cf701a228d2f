"""What an encoder is told of each edge, in training and when it serves."""

AGE_HALF_LIVES_DAYS = (1.0, 7.0, 30.0, 180.0)
NUM_EDGE_FEATURES = 1 + len(AGE_HALF_LIVES_DAYS)
"""Width of ``Edges.features``: the strength, and the freshness at several half-lives."""
