"""When events came: now, or, if they are read again after a restart, when they came before it."""

from springtide.clock import wall_ms
from springtide_services.stream.arrivals import Arrivals


def test_what_is_read_again_came_when_it_was_published() -> None:
    now_ms = wall_ms()
    arrivals = Arrivals(restored_ms=now_ms - 60_000)

    assert arrivals.came_ms(now_ms - 30_000) == now_ms - 30_000
    assert arrivals.came_ms(now_ms - 90_000) >= now_ms, "the checkpoint would hold it"
    assert now_ms <= arrivals.came_ms(now_ms + 90_000) < now_ms + 60_000, "nothing comes from the future"


def test_what_is_new_comes_now() -> None:
    now_ms = wall_ms()
    arrivals = Arrivals(restored_ms=now_ms - 60_000)
    arrivals.has_caught_up = True

    assert arrivals.came_ms(now_ms - 30_000) >= now_ms
    assert Arrivals(None).came_ms(now_ms - 30_000) >= now_ms
