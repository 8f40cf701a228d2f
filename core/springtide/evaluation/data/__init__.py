"""Data sets: the public ones, and tables of one's own events."""
