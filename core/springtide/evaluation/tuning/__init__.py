"""The search for better settings: the search space, and how trials are judged."""
