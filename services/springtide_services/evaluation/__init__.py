"""The commands that measure: runs, tables, plots and files of an evaluation, a tuning or a proof."""
