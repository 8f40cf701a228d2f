"""The built-in parts of Springtide; they come in by the same entry point as anybody's."""
