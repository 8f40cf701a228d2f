"""The command line: one file a command; `app` collects them."""
