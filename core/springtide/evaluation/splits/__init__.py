"""How a data set is cut in time."""
