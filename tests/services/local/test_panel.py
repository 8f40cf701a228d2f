"""The panel of `springtide up`: facts, and two commands that can be pasted into another shell."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from springtide.settings.load import load_settings
from springtide.settings.model import CheckpointSettings, KafkaSettings, ServerSettings, Settings
from springtide_services.local.panel import KEEPS, Loaded, commands_to_try, show_panel, write_example_events

SETTINGS = Settings(
    kafka=KafkaSettings(bootstrap_servers="127.0.0.1:9"),
    server=ServerSettings(host="::1", port=7),
    checkpoint=CheckpointSettings(url="s3://key:secret@bucket/checkpoints"),
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SPRINGTIDE_SETTINGS", "SPRINGTIDE_KAFKA__TOPIC"):
        monkeypatch.delenv(name, raising=False)


def panel(settings: Settings, example: Path | None = None, *, on_terminal: bool = False, how_long: str = "") -> str:
    console = Console(file=io.StringIO(), force_terminal=on_terminal, width=100, no_color=True, highlight=False)
    show_panel(console, settings, example, None, how_long=how_long)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_panel_says_where_things_are_and_what_to_try() -> None:
    lines = panel(SETTINGS).splitlines()

    assert lines[0] == "Springtide is up. Ctrl-C stops it."
    assert [line.split() for line in lines[1:5]] == [
        ["Kafka", "127.0.0.1:9,", "topic", "springtide.events"],
        ["gRPC", "[::1]:7"],
        ["Admin", "127.0.0.1:107"],
        ["State", "checkpoints", "in", "s3://***@bucket/checkpoints,", "models", "in", SETTINGS.model.url],
    ]
    assert lines[-2:] == [
        "  KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9 springtide publish events.jsonl",
        "  springtide recommend ann --address '[::1]:7'",
    ]


def test_how_long_the_state_is_kept_is_said(tmp_path: Path) -> None:
    shown = panel(SETTINGS, tmp_path / "example-events.jsonl", how_long=KEEPS)

    assert all(line in " ".join(shown.split()) for line in KEEPS.splitlines())
    assert f"springtide publish {tmp_path}/example-events.jsonl\n" in shown


def test_after_files_it_says_where_the_logs_are_and_asks_for_a_user_of_theirs(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=200, no_color=True, highlight=False)
    show_panel(console, SETTINGS, None, None, Loaded("-7", tmp_path))
    assert isinstance(console.file, io.StringIO)
    lines = [" ".join(line.split()) for line in console.file.getvalue().splitlines()]

    assert f"Logs server.log, trainer.log in {tmp_path}" in lines
    assert lines[-2:] == [
        "springtide recommend --address '[::1]:7' -- -7",
        "springtide status --address 127.0.0.1:107",
    ]


def test_commands_have_no_frame_and_are_not_broken_at_a_terminal(tmp_path: Path) -> None:
    example = tmp_path / ("long" * 30) / "example-events.jsonl"
    lines = panel(SETTINGS, example, on_terminal=True).replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()

    assert lines[0].startswith("╭─ Springtide is up.")
    assert lines[-2].rstrip() == f"  KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9 springtide publish {example}"


def test_command_names_the_settings_that_another_shell_lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPRINGTIDE_KAFKA__TOPIC", "my topic")
    (tmp_path / "springtide.toml").write_text("")
    kafka = KafkaSettings(bootstrap_servers="127.0.0.1:9", topic="my topic")
    publish, _ = commands_to_try(Settings(kafka=kafka), None, None)

    assert publish == (
        "KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9 SPRINGTIDE_KAFKA__TOPIC='my topic' "
        f"springtide publish events.jsonl --settings {tmp_path}/springtide.toml"
    )
    (tmp_path / "mine.toml").write_text("")
    assert commands_to_try(Settings(kafka=kafka), None, Path("mine.toml"))[0].endswith(f"{tmp_path}/mine.toml")


def test_pasted_publish_command_works_in_another_shell(
    fresh_kafka: Callable[..., KafkaSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka = fresh_kafka()
    toml = "\n".join(f"{name} = {json.dumps(getattr(kafka, name))}" for name in ("topic", "dead_letter_topic"))
    (tmp_path / "mine.toml").write_text(f"[kafka]\n{toml}\n")
    (tmp_path / "elsewhere").mkdir()
    settings = load_settings("mine.toml").settings.model_copy(update={"kafka": kafka})
    publish, _ = commands_to_try(settings, write_example_events(tmp_path), Path("mine.toml"))

    shell = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    pasted = subprocess.run(
        ["/bin/sh", "-c", publish], cwd=tmp_path / "elsewhere", env=shell, capture_output=True, text=True, check=False
    )

    assert pasted.returncode == 0, pasted.stderr
    assert pasted.stdout.startswith(f"published 7 events to {kafka.topic}: 7 interaction")
