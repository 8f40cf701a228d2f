"""How a data set is split in time."""
