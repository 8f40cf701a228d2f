"""The commands that measure: runs, tables, plots and files."""
