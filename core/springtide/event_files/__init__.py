"""Files of events as people have them: text tables, JSON, Parquet and Arrow, read once for every command."""

from springtide.event_files.problems import EventFileError
from springtide.event_files.reader import EventFile
from springtide.event_files.roles import HEADERS, parse_columns
from springtide.event_files.rows import Events, ReadOptions, Rows

__all__ = ["HEADERS", "EventFile", "EventFileError", "Events", "ReadOptions", "Rows", "parse_columns"]
