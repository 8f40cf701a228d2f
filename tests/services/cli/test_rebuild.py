"""The `rebuild` command: its options become what is left out."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from springtide.errors import SettingsError
from springtide.events.skips import Skips
from springtide_services.cli import rebuild_run
from springtide_services.cli.app import app

KAFKA = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Skips, dict[str, Any]]]:
    """What the command asks for, in place of a rebuild, which tests/integration/test_rebuild.py runs."""
    calls: list[tuple[Skips, dict[str, Any]]] = []
    monkeypatch.setattr(
        rebuild_run.RebuildRun, "run", lambda self, skips, **options: calls.append((skips, options)), raising=True
    )
    return calls


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["rebuild", *arguments], env=KAFKA)


def test_options_say_what_is_left_out(asked: list[tuple[Skips, dict[str, Any]]], tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("\ufeffe1\n\n e2 \n")
    result = run(
        *("--skip-offsets", "2:100-250", "--skip-offsets", "0:7", "--skip-event-ids", "import-7/*"),
        *("--skip-event-ids", f"@{ids}", "--skip-since", "2026-11-27T10:00:00", "--skip-until", "2026-11-27"),
    )
    assert isinstance(result.exception, SettingsError)  # The span ends before it begins.
    result = run(
        *("--skip-offsets", "2:100-250", "--skip-offsets", "0:7", "--skip-event-ids", "import-7/*"),
        *("--skip-event-ids", f"@{ids}", "--skip-since", "2026-11-27", "--skip-until", "2026-11-27T10:00:00"),
        *("--skip-type", "purchase", "--skip-user", "ann", "--skip-user", "bob", "--from-what-is-left"),
    )
    assert result.exception is None, result.output
    [(skips, options)] = asked
    assert skips == Skips(
        ((2, 100, 250), (0, 7, 7)),
        ("import-7/*", "e1", "e2"),
        1_795_737_600_000,
        1_795_773_600_000,
        ("purchase",),
        ("ann", "bob"),
    )
    assert (options["from_what_is_left"], options["forgets_skips"]) == (True, False)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--skip-offsets", "5"),
        ("--skip-offsets", "1:9-3"),
        ("--skip-offsets", "a:1-2"),
        ("--skip-event-ids", "*"),
        ("--skip-event-ids", ""),
        ("--skip-event-ids", "@no-such-file"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_read(
    asked: list[tuple[Skips, dict[str, Any]]], arguments: tuple[str, ...]
) -> None:
    result = run(*arguments)
    assert isinstance(result.exception, SettingsError)
    assert not asked
