"""Events and requests a second, from counters."""

from springtide.v1 import admin_pb2
from springtide_services.console.live_status import Rates


def status(num_applied: int, num_requests: int, start_s: int = 1) -> admin_pb2.GetStatusResponse:
    made = admin_pb2.GetStatusResponse(num_applied=num_applied)
    made.start_time.seconds = start_s
    made.calls.add(method="springtide.v1.RecommenderService/Recommend", num_ended={"OK": num_requests, "CANCELLED": 1})
    made.calls.add(method="springtide.v1.AdminService/GetStatus", num_ended={"OK": 1_000_000 + num_applied})
    return made


def test_rates_are_known_from_the_second_status_on_and_count_what_users_ask() -> None:
    rates = Rates()
    assert rates.after(status(100, 10), 50.0) == {"eventsPerS": None, "requestsPerS": None}
    assert rates.after(status(300, 14), 52.0) == {"eventsPerS": 100.0, "requestsPerS": 2.0}


def test_rates_are_over_the_last_seconds() -> None:
    rates = Rates()
    for second in range(11):
        found = rates.after(status(10 * min(second, 5), 0), float(second))
    assert found["eventsPerS"] == 0.0  # Nothing came in the last five.
    assert rates.after(status(100, 0), 11.0)["eventsPerS"] == 10.0  # 50 in five seconds.


def test_rates_begin_anew_with_a_new_server() -> None:
    rates = Rates()
    rates.after(status(1_000, 5), 1.0)
    assert rates.after(status(3, 0, start_s=9), 2.0) == {"eventsPerS": None, "requestsPerS": None}
    assert rates.after(status(5, 1, start_s=9), 3.0) == {"eventsPerS": 2.0, "requestsPerS": 1.0}
