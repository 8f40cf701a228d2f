"""The event model, the codecs from bytes to columns, and the refusal of bad events."""
