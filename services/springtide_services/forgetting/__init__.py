"""Forgetting a user or an item, and the proof that it is gone."""
