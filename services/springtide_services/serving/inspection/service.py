"""The whole InspectionService."""

from springtide_services.serving.inspection.models import ModelsInspection
from springtide_services.serving.inspection.seasons import SeasonsInspection


class InspectionService(SeasonsInspection, ModelsInspection):
    """Looks inside a running recommender, and changes nothing.

    Args:
        settings: All settings.
    """
