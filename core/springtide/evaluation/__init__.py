"""Time splits, metrics and data sets: how good a model really is."""
