"""The language of filters, boosters and segments: from a text to masks over columns."""
