"""Context weights: how much likelier an item is here and now than usual."""
