"""Fine-tuning against training from scratch, block after block: what it loses in quality and saves in time."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from springtide.evaluation.data.datasets import Dataset
from springtide.evaluation.protocols.measurer import Measurer
from springtide.evaluation.protocols.queries import UserQueries
from springtide.evaluation.protocols.training_state import state_of_slice
from springtide.evaluation.splits.time_splits import walk_forward_splits
from springtide.evaluation.variants import frozen_settings
from springtide.model.manifest import VectorTrainingMode
from springtide.model.registry import ModelArtifact
from springtide.plugins.loading import Plugins
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.training.train import OnProgress, train


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """One way of training, measured on one block.

    Attributes:
        new: NDCG@20 of unseen items.
        all: NDCG@20 of all items.
        seconds: Wall time of the training, exponents included.
    """

    new: float
    all: float
    seconds: float


@dataclass(frozen=True, slots=True)
class BlockResult:
    """Both ways of training on all interactions before a block, measured on that block.

    Attributes:
        number: Number of the block, from 1.
        retrained: A model trained from scratch.
        fine_tuned: A model fine-tuned from the fine-tuned model of the block before; that of block 0 is trained from
            scratch.
    """

    number: int
    retrained: TrainingResult
    fine_tuned: TrainingResult


def compare_fine_tuning(
    dataset: Dataset, settings: Settings, plugins: Plugins, on_progress: OnProgress | None = None
) -> Iterator[BlockResult]:
    """Train on all interactions before each block of ``walk_forward_splits``, from scratch and by fine-tuning.

    The fine-tuned model is never trained from scratch again, so its losses add up over the blocks.

    Args:
        dataset: The data set.
        settings: Settings of the model.
        plugins: Plugins that offer the parts.
        on_progress: Called with the progress of training and ranking.

    Raises:
        TrainingError: If there are too few interactions to train on.
    """
    report: OnProgress = on_progress or (lambda progress: None)
    settings = frozen_settings(plugins.resolved(settings), dataset.interactions)
    base: ModelArtifact | None = None
    for number, split in enumerate(walk_forward_splits(dataset.interactions)):
        state = state_of_slice(dataset.interactions, split.train, dataset.upserts, settings, plugins)
        if base is None:
            base = train(state, settings, plugins, mode="retrain", on_progress=report)
            continue  # Block 0 gives the model that the first fine-tuning starts from.
        queries = UserQueries(dataset.interactions, split, report)
        measurer = Measurer(dataset, split, queries, settings.ranking.item_groups)
        results: dict[VectorTrainingMode, TrainingResult] = {}
        ways: tuple[tuple[VectorTrainingMode, ModelArtifact | None], ...] = (("retrain", None), ("fine_tune", base))
        for mode, start in ways:
            started = time.monotonic()
            artifact = train(state, settings, plugins, mode=mode, base=start, on_progress=report)
            seconds = time.monotonic() - started
            results[mode] = _measured(artifact, state, settings, plugins, measurer, queries, seconds)
            base = artifact  # After the loop, this is the fine-tuned one.
        yield BlockResult(number, results["retrain"], results["fine_tune"])


def _measured(
    artifact: ModelArtifact,
    state: LiveState,
    settings: Settings,
    plugins: Plugins,
    measurer: Measurer,
    queries: UserQueries,
    seconds: float,
) -> TrainingResult:
    ranker = Ranker(state, settings.ranking)
    ranker.swap(ServingModel.from_artifact(artifact, plugins))
    measurement = measurer.measure(queries.rank_items_with(ranker), seconds).measurement
    return TrainingResult(measurement.new.ndcg, measurement.all.ndcg, seconds)
