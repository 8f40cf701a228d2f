"""Parts and sizes that the tests share."""

from collections.abc import Callable

import pytest
import torch

from springtide.plugins.loading import Plugins, load_plugins
from springtide.settings.model import ModelSettings, PartSettings
from springtide_travel_time.task import TravelTime


@pytest.fixture(scope="session")
def plugins() -> Plugins:
    """All that is installed, and the task as it stands here, installed or not."""
    torch.set_num_threads(1)
    return load_plugins().with_part("task", "travel_time", TravelTime)


@pytest.fixture
def model_of() -> Callable[[str], ModelSettings]:
    """Make settings of a small model: ``model_of("graphsage")``."""

    def make(encoder: str) -> ModelSettings:
        return ModelSettings(width=16, encoder=PartSettings(name=encoder), aggregator=PartSettings(name="mean"))

    return make
