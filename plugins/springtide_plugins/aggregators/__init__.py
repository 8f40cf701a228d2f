"""Aggregators, which combine many messages into one. Each is a PyG ``Aggregation``."""
