"""Losses: from cosines of users with their items and with sampled items to one number."""
