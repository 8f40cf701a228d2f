"""The sections of the settings; each setting is documented by the docstring below it."""
