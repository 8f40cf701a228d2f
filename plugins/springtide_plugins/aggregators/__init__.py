"""Aggregators: from many messages to one. Each is a PyG ``Aggregation``."""
