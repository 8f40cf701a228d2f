from structlog.testing import capture_logs

from springtide.events.model import EventBatch, NodeDelete
from springtide.testing import START_MS, interactions_of, state_of
from springtide_services.stream.ignored_events import IgnoredEvents


def test_events_of_deleted_nodes_are_told_once_a_minute() -> None:
    state, ignored = state_of(), IgnoredEvents()
    state.apply(EventBatch(interactions_of(()), deletes=[NodeDelete("item", "x", START_MS)]))
    with capture_logs() as logged:
        ignored.look_at(state)
        for _ in range(2):
            state.apply(EventBatch(interactions_of([("ann", "x", START_MS), ("ann", "x", START_MS + 1)])))
            ignored.look_at(state)
    assert logged == [{"event": "events_of_deleted_nodes", "events": 1, "log_level": "info"}]
