"""Settings of trainings that take a second, and checkpoints for them."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from springtide.checkpoint import CheckpointStore
from springtide.events.model import EventBatch, Interactions
from springtide.settings.model import CheckpointSettings, ModelSettings, RankingSettings, Settings, TrainingSettings
from springtide.state import LiveState, StreamPosition

NOW_MS = 1_700_000_000_000
NUM_USERS, NUM_ITEMS = 20, 10


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        checkpoint=CheckpointSettings(url=str(tmp_path / "checkpoints")),
        model=ModelSettings(url=str(tmp_path / "models"), width=8),
        training=TrainingSettings(
            steps=2, fine_tune_steps=2, batch_users=8, edges_per_user=4, num_negatives=8, num_threads=1
        ),
        ranking=RankingSettings(context_weights={}),
    )


@pytest.fixture
def write_checkpoint() -> Callable[..., str]:
    """Write a checkpoint in which even users have taken even items and odd users odd ones, and return its name.

    With ``repeats``, they go on to do so, each time after all that came before:
    ``write_checkpoint(settings, relation="dislike", repeats=3)``.
    """
    return _write_checkpoint


def _write_checkpoint(settings: Settings, relation: str = "purchase", repeats: int = 1) -> str:
    pairs = [(user, item) for user in range(NUM_USERS) for item in range(NUM_ITEMS) if user % 2 == item % 2]
    interactions = Interactions(
        user_ids=[f"u{user}" for user in range(NUM_USERS)],
        user_codes=np.array([user for user, _ in pairs], np.int32),
        item_ids=[f"i{item}" for item in range(NUM_ITEMS)],
        item_codes=np.array([item for _, item in pairs], np.int32),
        relations=[relation],
        relation_codes=np.zeros(len(pairs), np.int16),
        timestamps_ms=NOW_MS - np.arange(len(pairs), dtype=np.int64),
        values=np.full(len(pairs), np.nan, np.float32),
    )
    state = LiveState(settings, {})
    state.position = StreamPosition("events", "", {0: 0})
    for again in range(repeats):
        times = interactions.timestamps_ms + again * len(pairs)
        state.apply(EventBatch(dataclasses.replace(interactions, timestamps_ms=times)))
    state.advance({0: len(pairs) * repeats})
    return CheckpointStore(settings.checkpoint.url).write(state.snapshot()).name
