"""The process of the console: it stays small, and says why it cannot begin."""

import json
import subprocess
import sys

import pytest

from springtide.errors import SettingsError
from springtide.settings.model import Settings
from springtide_services.console.server import Target, serve_console

# What reads Kafka and computes is imported where somebody sends or watches events.
HEAVY = ("torch", "pyarrow", "matplotlib", "numpy", "opentelemetry", "springtide.graph", "springtide_plugins")


def test_it_imports_nothing_that_computes() -> None:
    code = "import json, sys; import springtide_services.console.server; print(json.dumps([*sys.modules]))"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert set(HEAVY).isdisjoint(json.loads(printed))


def test_a_host_that_other_machines_reach_wants_tls_and_tokens() -> None:
    settings = Settings.model_validate({"console": {"host": "0.0.0.0", "port": 0}})
    with pytest.raises(SettingsError, match=r"console.host: 0\.0\.0\.0 lets other machines in"):
        serve_console(settings, Target("127.0.0.1:1", "127.0.0.1:2"))


def test_a_host_that_is_not_this_machines_is_refused() -> None:
    settings = Settings.model_validate({"console": {"host": "203.0.113.7", "port": 0}, "server": {"insecure": True}})
    with pytest.raises(SettingsError, match="wanted a host of this machine"):
        serve_console(settings, Target("127.0.0.1:1", "127.0.0.1:2"))


def test_certificates_that_cannot_be_read_are_refused() -> None:
    tls = {"cert": "missing.pem", "key": "missing.pem"}
    settings = Settings.model_validate(
        {"console": {"host": "0.0.0.0", "port": 0}, "server": {"insecure": True, "tls": tls}}
    )
    with pytest.raises(SettingsError, match=r"server\.tls: the console cannot use it"):
        serve_console(settings, Target("127.0.0.1:1", "127.0.0.1:2"))
