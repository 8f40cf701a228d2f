"""From the best items to the answer: diversity, bounds, pins, exploration and rerankers. ``reorder`` makes it."""
