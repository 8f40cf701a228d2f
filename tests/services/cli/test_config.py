"""`config show` and `config init`: the settings for people."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from springtide.errors import SettingsError
from springtide.settings.load import load_settings
from springtide.settings.model import Settings
from springtide.settings.reference import commented_toml
from springtide_services.cli.app import app


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SPRINGTIDE_SETTINGS", "KAFKA_BOOTSTRAP_SERVERS"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_show_prints_toml_and_explains_it_if_asked(tmp_path: Path) -> None:
    (tmp_path / "springtide.toml").write_text("[server]\nport = 7000\n")
    plain, explained = run("config", "show"), run("config", "show", "--explain")
    assert "\nport = 7000  # springtide.toml\n" in plain
    assert "TCP port" not in plain
    assert "\n# TCP port to listen on. 0 takes any free port.\nport = 7000  # springtide.toml\n" in explained


def test_init_writes_a_file_that_sets_nothing(tmp_path: Path) -> None:
    run("config", "init")
    assert (tmp_path / "springtide.toml").read_text() == commented_toml()
    assert load_settings().settings == Settings()


def test_init_replaces_a_file_only_if_forced(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[server]\nport = 7000\n")
    with pytest.raises(SettingsError, match=r"mine\.toml exists already: .* --force"):
        run("config", "init", str(file))
    assert file.read_text() == "[server]\nport = 7000\n"
    run("config", "init", str(file), "--force")
    assert file.read_text() == commented_toml()


def test_init_says_why_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"a\.toml cannot be written: No such file or directory"):
        run("config", "init", str(tmp_path / "nowhere" / "a.toml"))
