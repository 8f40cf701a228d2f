"""Data sets: public ones, and tables of your own events."""
