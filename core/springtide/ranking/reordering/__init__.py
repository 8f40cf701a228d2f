"""From the best items to the answer: diversity, bounds, pins, rotation, exploration, rerankers and pages.

The public names are those of ``__all__``.
"""

from springtide.ranking.reordering.paging import FIRST_PAGE, at_page, moment_of
from springtide.ranking.reordering.rotation import DEFAULT_TIME_MS, ROTATION, Rotated, rotation

__all__ = ["DEFAULT_TIME_MS", "FIRST_PAGE", "ROTATION", "Rotated", "at_page", "moment_of", "rotation"]
