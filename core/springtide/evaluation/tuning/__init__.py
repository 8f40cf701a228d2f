"""The search for better settings: what may be tried, and how trials are judged."""
