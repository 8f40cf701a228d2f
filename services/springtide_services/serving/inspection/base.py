"""What the parts of the InspectionService have in common."""

from springtide.settings.model import Settings
from springtide.v1 import inspection_pb2_grpc as pb_grpc
from springtide_services.serving.admin_parts import AdminDependencies
from springtide_services.serving.admission import Admission
from springtide_services.serving.statuses import NotReadyError

_MAX_OPEN = 16  # They read much of the graph, in the few threads of the process that others need, too.


class InspectionBase(pb_grpc.InspectionServiceServicer):
    """What the parts of the InspectionService have in common; each part is a module of its own.

    Attributes:
        loaded: The parts of the server; None while they are being loaded, and each call is answered UNAVAILABLE.
        max_deadline_s: The most seconds that a call may take.
        others: Counts the open calls.
        settings: All settings.

    Args:
        settings: All settings.
    """

    def __init__(self, settings: Settings) -> None:
        self.max_deadline_s = settings.server.max_deadline_s
        self.loaded: AdminDependencies | None = None
        self.others = Admission(_MAX_OPEN)
        self.settings = settings

    def parts(self) -> AdminDependencies:
        """Return the parts of the server.

        Raises:
            NotReadyError: While they are being loaded.
        """
        if self.loaded is None:
            raise NotReadyError("the server is still loading; its health service says when it is ready")
        return self.loaded
