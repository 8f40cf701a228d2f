"""Durations on the command line, such as `30d` or `12h`."""

import re
from datetime import timedelta

import typer

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_FORM = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*([smhdw])")


class Duration:
    """Reads a duration: a number and a unit."""

    def __call__(self, text: str) -> timedelta:
        """Return the duration.

        Raises:
            typer.BadParameter: If it is none.
        """
        found = _FORM.fullmatch(text.strip())
        if found is None:
            raise typer.BadParameter(f"wanted a number and one of {', '.join(_UNITS)}, such as 12h, got {text!r}")
        try:
            return timedelta(**{_UNITS[found[2]]: float(found[1])})
        except OverflowError:
            raise typer.BadParameter(f"wanted less than a million years, got {text!r}") from None
