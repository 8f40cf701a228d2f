"""Ranking: from a user and a moment to ranked items, and why. Begin with `ranker`."""
