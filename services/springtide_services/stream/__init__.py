"""From Kafka into the live graph, and back: reading, publishing, dead letters, checkpoints in time."""
