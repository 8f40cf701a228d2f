"""What fine-tuning loses against training from scratch, block after block, and what it saves."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from springtide.evaluation.data.datasets import Dataset
from springtide.evaluation.protocols.measurer import Measurer
from springtide.evaluation.protocols.questions import Questions, frozen_settings, state_of_part
from springtide.evaluation.splits.time_splits import walk_forward_splits
from springtide.model.registry import ModelArtifact
from springtide.plugins.loading import Plugins
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.training.train import Mode, OnProgress, train


@dataclass(frozen=True, slots=True)
class Trained:
    """One way to train, measured on one block.

    Attributes:
        new: NDCG@20 of items new to the user.
        all: NDCG@20 of all items.
        seconds: Wall time of the training, the exponents' fit included.
    """

    new: float
    all: float
    seconds: float


@dataclass(frozen=True, slots=True)
class BlockOfBoth:
    """Both ways to train on all before a block, asked for the same.

    Attributes:
        number: Of the block, from 1.
        retrained: From scratch.
        fine_tuned: On from the model fine-tuned before the last block; the first is trained from scratch.
    """

    number: int
    retrained: Trained
    fine_tuned: Trained


def compare_fine_tuning(
    dataset: Dataset, settings: Settings, plugins: Plugins, on_progress: OnProgress | None = None
) -> Iterator[BlockOfBoth]:
    """Walk forward: train on all before each block, from scratch and on from the last block's model.

    The fine-tuned model is never trained from scratch again, so what it loses adds up. See ``walk_forward_splits``.

    Args:
        dataset: What to walk through.
        settings: Of the model.
        plugins: Where the parts come from.
        on_progress: Told of training and of ranking.

    Raises:
        TrainingError: If there is too little to learn from.
    """
    tell: OnProgress = on_progress or (lambda progress: None)
    settings = frozen_settings(plugins.resolved(settings), dataset.interactions)
    base: ModelArtifact | None = None
    for number, split in enumerate(walk_forward_splits(dataset.interactions)):
        state = state_of_part(dataset.interactions, split.train, dataset.upserts, settings, plugins)
        if base is None:
            base = train(state, settings, plugins, mode="retrain", on_progress=tell)
            continue  # Block 0 gives the model that the others are fine-tuned from.
        questions = Questions(dataset.interactions, split, tell)
        measurer = Measurer(dataset, split, questions, settings.ranking.item_groups)
        found: dict[Mode, Trained] = {}
        ways: tuple[tuple[Mode, ModelArtifact | None], ...] = (("retrain", None), ("fine_tune", base))
        for mode, before in ways:
            started = time.monotonic()
            artifact = train(state, settings, plugins, mode=mode, base=before, on_progress=tell)
            seconds = time.monotonic() - started
            found[mode] = _measured(artifact, state, settings, plugins, measurer, questions, seconds)
            base = artifact  # After the loop: the fine-tuned one.
        yield BlockOfBoth(number, found["retrain"], found["fine_tune"])


def _measured(
    artifact: ModelArtifact,
    state: LiveState,
    settings: Settings,
    plugins: Plugins,
    measurer: Measurer,
    questions: Questions,
    seconds: float,
) -> Trained:
    ranker = Ranker(state, settings.ranking)
    ranker.swap(ServingModel.from_artifact(artifact, plugins))
    measurement = measurer.measure(questions.asked_of(ranker), seconds).measurement
    return Trained(measurement.new.ndcg, measurement.all.ndcg, seconds)
