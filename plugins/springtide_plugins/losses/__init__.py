"""Losses, which turn cosines of users with their items and with sampled items into one number."""
