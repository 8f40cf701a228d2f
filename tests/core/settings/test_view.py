"""Changed settings as TOML."""

from pathlib import Path

import pytest

from springtide.settings.load import load_settings
from springtide.settings.model import Settings
from springtide.settings.view import changes_to_toml


def test_changes_alone_are_written_and_read_back(tmp_path: Path, clean_environment: None) -> None:
    settings = Settings.model_validate(
        {
            "interactions": {"rating>=4": {}, "view": {"weight": 0.5}},
            "model": {
                "encoder": {"name": "gat", "options": {"heads": 2}},
                "aggregator": ["mean", "max"],
                "tasks": {"kind": {"name": "node_class", "weight": 0.5}},
            },
            "training": {"steps": 99, "positive_half_life_days": None, "edge_half_life_days": 33.0},
            "ranking": {"context_weights": {}},
        }
    )
    (tmp_path / "changes.toml").write_text(changes_to_toml(settings))

    assert load_settings(tmp_path / "changes.toml").settings == settings
    assert "learning_rate" not in (tmp_path / "changes.toml").read_text()


def test_no_change_is_nothing_to_read(tmp_path: Path, clean_environment: None) -> None:
    (tmp_path / "changes.toml").write_text(changes_to_toml(Settings()))

    assert (tmp_path / "changes.toml").read_text().strip() == ""
    assert load_settings(tmp_path / "changes.toml").settings == Settings()


def test_secrets_are_left_out_and_named() -> None:
    options = {"sasl_plain_password": "hunter2"}
    written = changes_to_toml(Settings.model_validate({"kafka": {"topic": "shop", "client_options": options}}))

    assert "hunter2" not in written
    assert "***" not in written
    assert "# Left out, since it holds a secret: kafka.client_options" in written
    assert 'topic = "shop"' in written


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPRINGTIDE_SETTINGS", "KAFKA_BOOTSTRAP_SERVERS"):
        monkeypatch.delenv(name, raising=False)
