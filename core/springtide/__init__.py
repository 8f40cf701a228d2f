"""The recommender that learns from the stream."""
