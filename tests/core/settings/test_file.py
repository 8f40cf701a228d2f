"""The server's address is read at once where it can be, and is then what the loader says."""

import subprocess
import sys

import pytest

from springtide.errors import SettingsError
from springtide.settings.file import _OF_SERVER, _SECTIONS, PREFIX, plain_admin_address, plain_server_address
from springtide.settings.load import load_settings
from springtide.settings.model import ServerSettings, Settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("SPRINGTIDE_SETTINGS", "SPRINGTIDE_SERVER__HOST", "SPRINGTIDE_SERVER__PORT"):
        monkeypatch.delenv(name, raising=False)


def test_names_are_those_of_the_settings():
    assert Settings.model_fields.keys() == _SECTIONS
    # How to connect is not plain where there is TLS.
    assert ServerSettings.model_fields.keys() == _OF_SERVER | {"tls"}


@pytest.mark.parametrize("text", ["", "[server]\nport = 7\n", '[server]\nhost = "::1"\nmax_batch = 3\n[graph]\n'])
def test_plain_address_is_that_of_the_loader(text, tmp_path):
    (tmp_path / "springtide.toml").write_text(text)
    server = load_settings().settings.server
    assert plain_server_address(None) == (server.host, server.port)


def test_without_a_file_it_is_the_default():
    server = Settings().server
    assert plain_server_address(None) == (server.host, server.port)


def test_file_that_is_named_is_read(tmp_path, monkeypatch):
    (tmp_path / "mine.toml").write_text("[server]\nport = 9\n")
    assert plain_server_address(tmp_path / "mine.toml") == ("127.0.0.1", 9)
    monkeypatch.setenv("SPRINGTIDE_SETTINGS", "mine.toml")
    assert plain_server_address(None) == ("127.0.0.1", 9)


MAYBE_WRONG = (
    "[sever]\nport = 9\n",
    "[server]\nprot = 9\n",
    'server = "here"\n',
    '[server]\nport = "9"\n',
    "[server]\nport = 99_999\n",
)


@pytest.mark.parametrize("text", MAYBE_WRONG)
def test_what_may_be_wrong_is_left_to_the_loader(text, tmp_path):
    (tmp_path / "springtide.toml").write_text(text)
    assert plain_server_address(None) is None


def test_variables_of_the_address_stand_above_the_file(tmp_path, monkeypatch):
    (tmp_path / "springtide.toml").write_text('[server]\nhost = "::1"\nport = 7\n')
    monkeypatch.setenv(f"{PREFIX}SERVER__PORT", "9")
    assert plain_server_address(None) == ("::1", 9) == (load_settings().settings.server.host, 9)
    monkeypatch.setenv(f"{PREFIX}SERVER__HOST", "0.0.0.0")
    assert plain_server_address(None) == ("0.0.0.0", 9) == (load_settings().settings.server.host, 9)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("port = 7", ("127.0.0.1", 107)),
        ("port = 0", ("127.0.0.1", 0)),
        ("port = 65_500", ("127.0.0.1", 65_400)),
        ('host = "::"\nadmin_port = 9', ("127.0.0.1", 9)),
        ('admin_host = "::1"', ("::1", 50_151)),
        ('admin_port = "none"', None),
    ],
)
def test_admin_address_is_beside_that_of_the_server_unless_it_is_set(text, address, tmp_path):
    (tmp_path / "springtide.toml").write_text(f"[server]\n{text}\n")
    server = load_settings().settings.server
    loaded = (server.admin_host, server.admin_port_number)
    assert plain_admin_address(None) == address
    assert loaded == (address or ("127.0.0.1", 50_151))


def test_variables_of_the_admin_address_stand_above_the_file(tmp_path, monkeypatch):
    (tmp_path / "springtide.toml").write_text("[server]\nadmin_port = 7\n")
    monkeypatch.setenv(f"{PREFIX}SERVER__ADMIN_PORT", "9")
    assert plain_admin_address(None) == ("127.0.0.1", 9)
    monkeypatch.setenv(f"{PREFIX}SERVER__ADMIN_PORT", "here")
    assert plain_admin_address(None) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERVER__PORT", "here"),
        ("SERVER__PORT", "99999"),
        ("SERVER__PORT", "9" * 9_999),
        ("SERVER__PROT", "9"),
        ("SERVER", "{}"),
    ],
)
def test_variables_that_may_be_wrong_are_left_to_the_loader(name, value, monkeypatch):
    monkeypatch.setenv(f"{PREFIX}{name}", value)
    assert plain_server_address(None) is None


def test_file_that_is_not_there_is_refused():
    with pytest.raises(SettingsError, match=r"settings file no\.toml cannot be read"):
        plain_server_address("no.toml")


def test_asking_a_server_takes_no_pydantic(tmp_path):
    code = """
import sys
from springtide_services.cli.options import server_address
print(server_address(None), "pydantic" in sys.modules)
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ended.stdout == "127.0.0.1:50051 False\n"
