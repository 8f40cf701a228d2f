"""The train/test protocol on data whose answer is known."""

import numpy as np
import pytest

from springtide.evaluation.data.datasets import Dataset
from springtide.evaluation.measures.mean_metrics import DetailedMeasurement, Measurement
from springtide.evaluation.measures.metrics import K
from springtide.evaluation.protocols.train_test import TrainTestProtocol
from springtide.evaluation.splits.time_splits import global_time_split
from springtide.events.model import NodeUpsert
from springtide.packed_texts import unpack
from springtide.plugins.loading import Plugins, load_plugins
from springtide.settings.model import PartSettings, Settings
from springtide.testing import even_odd_events, interactions_of, quick_settings
from springtide.training.train import OnProgress, Progress


def even_odd_dataset(size: int = 64) -> Dataset:
    """Even users chose even items, odd users odd ones."""
    upserts = [NodeUpsert("item", f"i{number}", categories={"side": (str(number % 2),)}) for number in range(size)]
    events = interactions_of(even_odd_events(size))
    return Dataset("even-odd", events, [*upserts, NodeUpsert("item", "without events")])


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins()


@pytest.fixture(scope="module")
def reported() -> list[Progress]:
    return []


def protocol_of(dataset: Dataset, settings: Settings, plugins: Plugins, *on_progress: OnProgress) -> TrainTestProtocol:
    return TrainTestProtocol(dataset, global_time_split(dataset.interactions), settings, plugins, *on_progress)


@pytest.fixture(scope="module")
def protocol(plugins: Plugins, reported: list[Progress]) -> TrainTestProtocol:
    return protocol_of(even_odd_dataset(), quick_settings(), plugins, reported.append)


@pytest.fixture(scope="module")
def measured(protocol: TrainTestProtocol) -> DetailedMeasurement:
    return protocol.measure_model(quick_settings(model={"loss": "cce"}))  # Calibrated after a few steps.


@pytest.fixture(scope="module")
def of_model(measured: DetailedMeasurement) -> Measurement:
    return measured.measurement


def test_attribute_of_another_kind_than_the_settings_say_is_left_out(plugins: Plugins) -> None:
    settings = quick_settings(attributes={"item": {"side": "number"}})
    protocol = protocol_of(even_odd_dataset(), settings, plugins)
    assert protocol.measure_baseline(PartSettings(name="popularity")).measurement.all.ndcg > 0


def of_baseline(protocol: TrainTestProtocol, name: str) -> Measurement:
    return protocol.measure_baseline(PartSettings(name=name)).measurement


def test_model_finds_what_popularity_cannot_know(protocol: TrainTestProtocol, of_model: Measurement) -> None:
    # Each user has about four unseen items of the right parity; three of them are relevant.
    assert of_model.new.ndcg > 0.8
    assert of_model.new.recall == pytest.approx(1.0, abs=0.02)
    assert of_baseline(protocol, "popularity").new.ndcg < 0.6


def test_all_are_measured_on_the_same_users(protocol: TrainTestProtocol, of_model: Measurement) -> None:
    measured = [of_model, *(of_baseline(protocol, name) for name in ("popularity", "own_counts", "tifu_knn"))]
    assert len({found.new.num_users for found in measured}) == 1
    assert len({found.all.num_users for found in measured}) == 1
    assert all(found.fit_seconds >= 0 for found in measured)


def test_progress_is_reported_to_the_end_of_each_stage(reported: list[Progress], of_model: Measurement) -> None:
    last = {progress.stage: progress for progress in reported}
    assert {"build the graph", "learn", "exponents", "learn the latest", "rank new items", "rank all items"} <= set(
        last
    )
    assert all(progress.done == progress.total for progress in last.values())


def test_models_share_one_state_and_leave_it_as_it_was(plugins: Plugins) -> None:
    """A model must not influence the next: weights, graph and metrics are the same as for a single model."""
    settings = quick_settings(ranking={"context_weights": {"popularity": {}, "trend": {}, "repeat": {}}})
    other = settings.model_copy(update={"model": settings.model.model_copy(update={"num_layers": 1})})
    alone = protocol_of(even_odd_dataset(32), settings, plugins).measure_model(settings).measurement
    protocol = protocol_of(even_odd_dataset(32), settings, plugins)
    protocol.measure_model(other)
    before = protocol.state.snapshot()
    after_another = protocol.measure_model(settings).measurement
    after = protocol.state.snapshot()

    assert (after_another.new, after_another.all) == (alone.new, alone.all)
    assert (after.version, after.num_events, after.newest_ms) == (before.version, before.num_events, before.newest_ms)
    for ours, theirs in zip(before.nodes, after.nodes, strict=True):
        assert unpack(*ours.ids.packed(0, ours.ids.num_rows)) == unpack(*theirs.ids.packed(0, theirs.ids.num_rows))
    for name, arrays in before.context_weights.items():
        for key, array in arrays.items():
            np.testing.assert_array_equal(after.context_weights[name][key], array)


def test_item_of_the_test_set_alone_is_no_candidate(plugins: Plugins) -> None:
    events = [*even_odd_events(32), ("u0", "new at the end", 10**13), ("u1", "i1", 10**13)]
    upserts = [NodeUpsert("item", item) for item in ("i1", "new at the end", "without events")]
    protocol = protocol_of(Dataset("more", interactions_of(events), upserts), quick_settings(), plugins)
    ids = protocol.state.graph.nodes("item").ids.all_ids()
    assert "i1" in ids
    assert "new at the end" not in ids
    assert "without events" not in ids


def test_scores_of_a_model_are_calibrated(measured: DetailedMeasurement) -> None:
    predicted, observed, counts = measured.arrays["reliability"]
    assert counts.sum() == 62 * K  # Users of the test set.
    assert (np.diff(predicted) >= 0).all()
    # The top few items of each user are right, and others are hardly ever chosen.
    assert observed[-1] == pytest.approx(predicted[-1], rel=0.5)
    assert observed[:5].max() < 0.02
