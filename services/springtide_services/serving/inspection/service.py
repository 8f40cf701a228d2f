"""The whole InspectionService."""

from springtide_services.serving.inspection.map import MapInspection
from springtide_services.serving.inspection.models import ModelsInspection
from springtide_services.serving.inspection.quality import QualityInspection
from springtide_services.serving.inspection.seasons import SeasonsInspection


class InspectionService(MapInspection, SeasonsInspection, ModelsInspection, QualityInspection):
    """Looks inside a running recommender, and changes nothing.

    Args:
        settings: All settings.
    """
