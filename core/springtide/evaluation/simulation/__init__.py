"""A simulated market whose truth is known, and how much of it a model recovers."""
