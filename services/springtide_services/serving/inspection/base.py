"""What the parts of the InspectionService have in common."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from springtide.clock import Deadline
from springtide.settings.model import Settings
from springtide.v1 import inspection_pb2_grpc as pb_grpc
from springtide_services.serving.admin_parts import AdminDependencies
from springtide_services.serving.admission import Admission
from springtide_services.serving.statuses import Context, NotReadyError, seconds_left

Answer = TypeVar("Answer")
IsOver = Callable[[], bool]
"""Whether there is no time left, or nobody waits any more."""

_MAX_OPEN = 16
_NUM_THREADS = 2  # Of their own: they read much of the graph, and others need the few threads of the process.


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
        self._threads = ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="inspection")

    def parts(self) -> AdminDependencies:
        """Return the parts of the server.

        Raises:
            NotReadyError: While they are being loaded.
        """
        if self.loaded is None:
            raise NotReadyError("the server is still loading; its health service says when it is ready")
        return self.loaded

    async def look(self, context: Context[Any, Any], find: Callable[[IsOver], Answer]) -> Answer:
        """Return what a function finds in another thread, in the time of a call.

        Args:
            context: The call.
            find: Gets what tells whether the time is over: also once the client has gone.
        """
        deadline, is_gone = Deadline.after(max(0.0, seconds_left(context, self.max_deadline_s))), threading.Event()
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, find, lambda: is_gone.is_set() or deadline.is_over()
            )
        finally:
            is_gone.set()
