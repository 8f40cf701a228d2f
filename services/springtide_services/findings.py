"""What an examination finds: each thing with how bad it is, and the way out."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked.

    Attributes:
        subject: What was checked, in a word or two.
        level: How bad it is; ``UNKNOWN`` if we have no right to ask, or nobody says.
        message: What was found, and what follows from it.
        advice: The way out in a sentence; empty if there is nothing to do.
        command: The way out as a command; empty if there is none.
    """

    subject: str
    level: Level
    message: str
    advice: str = ""
    command: str = ""
