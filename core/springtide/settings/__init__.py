"""Everything that can be set: the tree of settings, how it is loaded, and how it is shown."""
