"""The built-in index."""
