"""A small data set, plugins that fail, and a clean environment, for all tests of the room."""

from pathlib import Path

import pytest

from springtide.evaluation.data import Dataset
from springtide.settings.model import Settings
from springtide.testing import even_odd_events, interactions_of

FAILING_LOSSES = '''"""Losses that cannot work."""

from springtide.errors import TrainingError
from springtide.plugins.contracts import Loss
from springtide.plugins.hookspecs import hookimpl


class Refusing(Loss):
    """Refuses."""

    def forward(self, inputs):
        raise TrainingError("wanted ratings, got none")


class Broken(Loss):
    """Breaks."""

    def forward(self, inputs):
        return {}["nothing"]


@hookimpl
def register_losses(register):
    register("refusing", Refusing)
    register("broken", Broken)
'''


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    """Even users chose even items, odd users odd ones; it stands in for a public data set."""
    return Dataset("films", interactions_of(even_odd_events(24)), [])


@pytest.fixture
def clicks(tmp_path: Path) -> Path:
    """The same as a CSV file with the columns ``visitor``, ``thing`` and ``timestamp``."""
    path = tmp_path / "clicks.csv"
    events = [f"{user},{item},{time}" for user, item, time in even_odd_events(24)]
    path.write_text("\n".join(["visitor,thing,timestamp", *events]) + "\n")
    return path


@pytest.fixture
def with_failing_losses(settings: Settings, tmp_path: Path) -> Settings:
    """The test's settings with a plugin folder that offers the losses ``refusing`` and ``broken``."""
    folder = tmp_path / "failing"
    folder.mkdir()
    (folder / "failing_losses.py").write_text(FAILING_LOSSES)
    return settings.model_copy(update={"plugins": settings.plugins.model_copy(update={"folder": str(folder)})})


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings from the environment or the working folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("SPRINGTIDE_SETTINGS", "KAFKA_BOOTSTRAP_SERVERS"):
        monkeypatch.delenv(name, raising=False)
