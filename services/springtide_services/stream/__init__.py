"""Kafka in and out: reading events into the live graph, publishing, dead letters, and when checkpoints are written."""
