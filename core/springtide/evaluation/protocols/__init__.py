"""How a model is evaluated: once, block after block, or event by event."""
