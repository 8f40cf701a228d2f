"""Exit codes of our processes, which a supervisor reads."""

EXIT_FAILED = 1
EXIT_REFUSED = 2
"""What was asked for cannot be: starting again would not help."""
