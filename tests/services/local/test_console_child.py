"""The console beside a server on this machine: which port it takes, and what happens where it cannot start."""

import importlib.util
import socket
from collections.abc import Iterator

import pytest

from springtide.errors import SettingsError
from springtide.settings.model import Settings
from springtide_services.local import console_child
from springtide_services.local.console_child import PlannedConsole, plan_console


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_default_port_gives_way_to_a_free_one(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings()
    monkeypatch.setattr(console_child, "_is_free", lambda host, port: port != settings.console.port)
    planned = plan_console(settings)
    assert isinstance(planned, PlannedConsole)
    assert planned.port not in (0, settings.console.port)
    assert planned.url == f"http://127.0.0.1:{planned.port}"


def test_a_port_that_the_settings_name_is_refused_where_it_is_taken(taken: int) -> None:
    settings = Settings.model_validate({"console": {"port": taken}})
    with pytest.raises(SettingsError, match=rf"127.0.0.1:{taken} \(wanted a free port; 0 picks one; --no-console"):
        plan_console(settings)


def test_without_its_packages_it_is_said_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else find(name))
    assert plan_console(Settings()) == "uvicorn is not installed: pip install 'springtide[console]'"


def test_a_console_that_other_machines_reach_needs_tls_and_tokens() -> None:
    open_to_all = {"console": {"host": "0.0.0.0", "port": 0}}
    with pytest.raises(SettingsError, match=r"console.host: 0\.0\.0\.0 lets other machines in"):
        plan_console(Settings.model_validate(open_to_all))
    planned = plan_console(Settings.model_validate({**open_to_all, "server": {"insecure": True}}))
    assert isinstance(planned, PlannedConsole)
    assert planned.url == f"http://127.0.0.1:{planned.port}"
