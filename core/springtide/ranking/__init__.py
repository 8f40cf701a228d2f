"""From a user and a moment to the ranked items, and why."""
