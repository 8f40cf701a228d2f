"""The whole InspectionService."""

from springtide_services.serving.inspection.base import InspectionBase


class InspectionService(InspectionBase):
    """Looks inside a running recommender, and changes nothing.

    Args:
        settings: All settings.
    """
