"""Exit codes of our processes; a supervisor starts a process again, except after ``EXIT_REFUSED``."""

EXIT_FAILED = 1
EXIT_REFUSED = 2
"""The settings, a plugin or an argument is wrong: the same command would fail again."""
