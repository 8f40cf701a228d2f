"""The cuts that a search measures its trials on: the same data set, cut at several moments."""

from collections.abc import Sequence

from springtide.evaluation.data.datasets import Dataset
from springtide.evaluation.measures.mean_metrics import DetailedMeasurement
from springtide.evaluation.protocols.train_test import TrainTestProtocol
from springtide.evaluation.splits.time_splits import Split
from springtide.plugins.loading import Plugins
from springtide.settings.model import Settings
from springtide.training.train import OnProgress


class Cuts:
    """A data set cut at several moments, on which any settings can be measured.

    The graph of a cut, with the state of the present context weights, is built once. Settings with other context
    weights need a state of their own, which is built for them and dropped.

    Args:
        dataset: The data set.
        splits: Where it is cut.
        settings: The present settings.
        plugins: Plugins that offer the parts.
        on_progress: Called with the progress of training and ranking.
    """

    def __init__(
        self,
        dataset: Dataset,
        splits: Sequence[Split],
        settings: Settings,
        plugins: Plugins,
        on_progress: OnProgress | None = None,
    ) -> None:
        self._dataset = dataset
        self._splits = splits
        self._ranking = settings.ranking
        self._plugins = plugins
        self._on_progress = on_progress
        self._protocols = [self._protocol(split, settings) for split in splits]

    def __len__(self) -> int:
        """Number of cuts."""
        return len(self._splits)

    def measure(self, cut: int, settings: Settings) -> DetailedMeasurement:
        """Train and measure a model.

        Args:
            cut: Number of the cut, from 0.
            settings: Graph and interaction rules as in the present settings; all else may differ.

        Raises:
            TrainingError: If the model cannot be trained on this data set.
            SettingsError: If no plugin offers its parts, or they cannot work together.
        """
        is_present = settings.ranking == self._ranking
        protocol = self._protocols[cut] if is_present else self._protocol(self._splits[cut], settings)
        return protocol.measure_model(settings)

    def _protocol(self, split: Split, settings: Settings) -> TrainTestProtocol:
        return TrainTestProtocol(self._dataset, split, settings, self._plugins, self._on_progress)
