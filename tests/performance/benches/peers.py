"""Training on real purchases beside implicit's ALS and a plain LightGCN: time and NDCG@20 of each, same cut in time."""

import dataclasses
import time
import warnings
from collections.abc import Callable, Iterator

from benches.figures import Figure, Limit
from benches.light_gcn import LightGCN
from benches.sizes import Sizes
from benches.synthetic import make_interactions

from springtide.evaluation.data.datasets import Dataset, fetch
from springtide.evaluation.protocols.baseline_runner import BaselineRunner
from springtide.evaluation.protocols.measurer import Measurer
from springtide.evaluation.protocols.queries import RankItems, UserQueries
from springtide.evaluation.protocols.training_state import state_of_slice
from springtide.evaluation.splits.time_splits import global_time_split
from springtide.evaluation.variants import frozen_settings, with_context_weights
from springtide.model.manifest import VectorTrainingMode
from springtide.model.registry import ModelArtifact
from springtide.plugins.contracts import Baseline
from springtide.plugins.loading import load_plugins
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import PartSettings, Settings
from springtide.training.train import train

_OF_THE_MOMENT = ("calendar", "occasions", "session")  # One ranking stands for all of the test set.
_BASE_SHARE = 0.9  # Of the training set: what the model knew that is fine-tuned.


def run(sizes: Sizes) -> list[Figure]:
    warnings.filterwarnings("ignore", "Sparse invariant checks")  # torch says it once a process.
    data = _DataSet(sizes)
    als = data.measure_baseline(lambda: data.plugins.make("baseline", PartSettings(name="ials")))
    light_gcn = data.measure_baseline(lambda: LightGCN(sizes.light_gcn_epochs))
    base, retrained = data.train(_BASE_SHARE, None), data.train(1.0, None)
    tuned = data.train(1.0, base.artifact)
    return [
        figure
        for name, measured in (("retrain", retrained), ("fine-tune", tuned))
        for peer, of_peer in (("implicit's ALS", als), (f"LightGCN, {sizes.light_gcn_epochs} epochs", light_gcn))
        for figure in _beside(f"{name}, {data.num_train:,} events", measured, peer, of_peer)
    ]


@dataclasses.dataclass(frozen=True)
class _Measured:
    seconds: float
    new: float  # NDCG@20 of items that the user did not have.
    all: float  # NDCG@20 of all items.
    artifact: ModelArtifact | None = None


def _beside(name: str, ours: _Measured, peer: str, of_peer: _Measured) -> Iterator[Figure]:
    yield Figure(name, "s", [ours.seconds], Limit(peer, [of_peer.seconds]))
    yield Figure(f"{name}, unseen items", "NDCG@20", [ours.new], Limit(peer, [of_peer.new]))
    yield Figure(f"{name}, all items", "NDCG@20", [ours.all], Limit(peer, [of_peer.all]))


class _DataSet:
    """A data set, cut in time; everything is trained on what is before the cut, and ranks what comes after it."""

    def __init__(self, sizes: Sizes) -> None:
        self.plugins = load_plugins()
        settings = Settings()
        if sizes.retrain_interactions is None:
            self._dataset = fetch("complete-journey")
        else:
            self._dataset = Dataset(
                "synthetic", make_interactions(sizes.retrain_interactions, sizes.users, sizes.items), ()
            )
            steps = {"steps": 3, "fine_tune_steps": 2}
            settings = settings.model_copy(update={"training": settings.training.model_copy(update=steps)})
        self._split = global_time_split(self._dataset.interactions)
        weights = {name: of for name, of in settings.ranking.context_weights.items() if name not in _OF_THE_MOMENT}
        settings = self.plugins.resolved(with_context_weights(settings, weights))
        self._settings = frozen_settings(settings, self._dataset.interactions)
        self._queries = UserQueries(self._dataset.interactions, self._split, lambda progress: None)
        self._measurer = Measurer(self._dataset, self._split, self._queries, settings.ranking.item_groups)

    @property
    def num_train(self) -> int:
        return len(self._split.train)

    def measure_baseline(self, make: Callable[[], Baseline]) -> _Measured:
        started = time.perf_counter()
        runner = BaselineRunner(make(), self._dataset.interactions, self._split)
        return self._measured(runner, time.perf_counter() - started)

    def train(self, share: float, base: ModelArtifact | None) -> _Measured:
        """Train on the first ``share`` of the training set: from scratch, or from the vectors of a model."""
        train_rows = self._split.train[: int(share * self.num_train)]
        dataset = self._dataset
        state = state_of_slice(dataset.interactions, train_rows, dataset.upserts, self._settings, self.plugins)
        mode: VectorTrainingMode = "retrain" if base is None else "fine_tune"
        started = time.perf_counter()
        artifact = train(state, self._settings, self.plugins, mode=mode, base=base)
        seconds = time.perf_counter() - started
        ranker = Ranker(state, self._settings.ranking)
        ranker.swap(ServingModel.from_artifact(artifact, self.plugins))
        return dataclasses.replace(self._measured(self._queries.rank_items_with(ranker), seconds), artifact=artifact)

    def _measured(self, rank_items: RankItems, seconds: float) -> _Measured:
        found = self._measurer.measure(rank_items, seconds).measurement
        return _Measured(seconds, found.new.ndcg, found.all.ndcg)
