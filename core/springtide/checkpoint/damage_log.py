"""What was found damaged: told at once, and kept for the status."""

from dataclasses import dataclass

import structlog

from springtide.clock import wall_ms

logger = structlog.stdlib.get_logger(__name__)

_MAX_KEPT = 20  # They are in each status.


@dataclass(frozen=True, slots=True)
class FoundDamage:
    """A checkpoint that was found to be damaged.

    Attributes:
        checkpoint: Its name.
        fault: What is damaged, in words.
        instead: What takes its place, in words.
        found_ms: When it was found, in milliseconds since the Unix epoch.
    """

    checkpoint: str
    fault: str
    instead: str
    found_ms: int


class DamageLog:
    """What one process has found damaged; one thread at a time writes, any thread may read.

    Attributes:
        latest: The latest, oldest first.
    """

    def __init__(self) -> None:
        self.latest: tuple[FoundDamage, ...] = ()

    def tell(self, checkpoint: str, fault: str, instead: str) -> None:
        """Log and remember that a checkpoint is damaged; see ``FoundDamage``."""
        logger.error("checkpoint_damaged", checkpoint=checkpoint, fault=fault, instead=instead)
        self.latest = (*self.latest, FoundDamage(checkpoint, fault, instead, wall_ms()))[-_MAX_KEPT:]
