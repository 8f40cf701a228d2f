"""Travel times of road segments and of whole routes: a task for Springtide in a package of its own."""

from collections.abc import Callable

from springtide.plugins.contracts import TaskFactory
from springtide.plugins.hookspecs import hookimpl
from springtide_travel_time.task import TravelTime


@hookimpl
def register_tasks(register: Callable[[str, TaskFactory], None]) -> None:
    """Register the task."""
    register("travel_time", TravelTime)
