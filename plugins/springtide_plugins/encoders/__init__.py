"""Encoders: from a node's neighbours to its vector. A module for each family."""
