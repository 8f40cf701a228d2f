"""Answers do not wait for Python's lock as long as Python would let them."""

import contextlib
import sys
from collections.abc import Iterator

import pytest

from springtide.settings.model import Settings
from springtide_services.serving import server


@pytest.fixture(autouse=True)
def interval() -> Iterator[None]:
    """Leave the interval as it was."""
    before_s = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before_s)


def test_a_server_lets_waiting_threads_in_sooner_than_python_does(monkeypatch: pytest.MonkeyPatch) -> None:
    sys.setswitchinterval(0.005)
    found: list[float] = []

    def run(serving: object) -> None:
        serving.close()  # type: ignore[attr-defined]  # A coroutine that is not run.
        found.append(sys.getswitchinterval())

    monkeypatch.setattr(server.uvloop, "run", run)
    monkeypatch.setattr(server, "StartCheck", lambda settings: contextlib.nullcontext())
    monkeypatch.setattr(server, "ignore_signals", lambda: None)

    server.serve(Settings())

    assert found == [pytest.approx(0.0001)]
