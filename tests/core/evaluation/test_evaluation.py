"""The numbers of our tables: the protocol on a known answer."""

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY
from springtide.evaluation.data.datasets import Dataset
from springtide.evaluation.measures.measurement import K, Measured, Measurement
from springtide.evaluation.measures.reliability import binned
from springtide.evaluation.protocols.baseline_runner import FittedBaseline
from springtide.evaluation.protocols.measurer import Measurer
from springtide.evaluation.protocols.protocol import Protocol
from springtide.evaluation.protocols.questions import Questions
from springtide.evaluation.splits.cuts import cut_at, cut_names
from springtide.evaluation.splits.time_splits import Split, global_time_split
from springtide.events.model import Interactions, NodeUpsert
from springtide.plugins.loading import Plugins, load_plugins
from springtide.settings.model import PartSettings, Settings
from springtide.testing import even_odd_events, interactions_of, quick_settings
from springtide.training.train import OnProgress, Progress


def even_odd_dataset(size: int = 64) -> Dataset:
    """Users and items who took what is of their own parity, and nothing else."""
    upserts = [NodeUpsert("item", f"i{number}", categories={"side": (str(number % 2),)}) for number in range(size)]
    events = interactions_of(even_odd_events(size))
    return Dataset("even-odd", events, [*upserts, NodeUpsert("item", "nobody took it")])


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins()


@pytest.fixture(scope="module")
def told() -> list[Progress]:
    return []


def protocol_of(dataset: Dataset, settings: Settings, plugins: Plugins, *told: OnProgress) -> Protocol:
    return Protocol(dataset, global_time_split(dataset.interactions), settings, plugins, *told)


@pytest.fixture(scope="module")
def protocol(plugins: Plugins, told: list[Progress]) -> Protocol:
    return protocol_of(even_odd_dataset(), quick_settings(), plugins, told.append)


@pytest.fixture(scope="module")
def measured(protocol: Protocol) -> Measured:
    return protocol.measure_model(quick_settings(model={"loss": "cce"}))  # Whose chances are right in a few steps.


@pytest.fixture(scope="module")
def of_model(measured: Measured) -> Measurement:
    return measured.measurement


def of_baseline(protocol: Protocol, name: str) -> Measurement:
    return protocol.measure_baseline(PartSettings(name=name)).measurement


def test_model_finds_what_popularity_cannot_know(protocol: Protocol, of_model: Measurement) -> None:
    # Some four items of the right parity are left to each user, three of them relevant.
    assert of_model.new.ndcg > 0.8
    assert of_model.new.recall == pytest.approx(1.0, abs=0.02)
    assert of_baseline(protocol, "popularity").new.ndcg < 0.6


def test_all_are_measured_on_the_same_users(protocol: Protocol, of_model: Measurement) -> None:
    measured = [of_model, *(of_baseline(protocol, name) for name in ("popularity", "own_counts", "tifu_knn"))]
    assert len({found.new.num_users for found in measured}) == 1
    assert len({found.all.num_users for found in measured}) == 1
    assert all(found.fit_seconds >= 0 for found in measured)


def test_evaluation_tells_how_far_it_is(told: list[Progress], of_model: Measurement) -> None:
    last = {progress.stage: progress for progress in told}
    assert {"build the graph", "learn", "exponents", "learn the latest", "rank new items", "rank all items"} <= set(
        last
    )
    assert all(progress.done == progress.total for progress in last.values())


def test_models_share_one_state_and_leave_it_as_it_was(plugins: Plugins) -> None:
    """What one model does must not be seen by the next: weights, graph and figures are as if it were the only one."""
    settings = quick_settings(ranking={"context_weights": {"popularity": {}, "trend": {}, "repeat": {}}})
    other = settings.model_copy(update={"model": settings.model.model_copy(update={"num_layers": 1})})
    alone = protocol_of(even_odd_dataset(32), settings, plugins).measure_model(settings).measurement
    protocol = protocol_of(even_odd_dataset(32), settings, plugins)
    protocol.measure_model(other)
    before = protocol._state.snapshot()
    after_another = protocol.measure_model(settings).measurement
    after = protocol._state.snapshot()

    assert (after_another.new, after_another.all) == (alone.new, alone.all)
    assert (after.version, after.num_events, after.newest_ms) == (before.version, before.num_events, before.newest_ms)
    for ours, theirs in zip(before.nodes, after.nodes, strict=True):
        assert ours.ids == theirs.ids
    for name, arrays in before.context_weights.items():
        for key, array in arrays.items():
            np.testing.assert_array_equal(after.context_weights[name][key], array)


def test_what_only_the_test_part_knows_is_no_candidate(plugins: Plugins) -> None:
    events = [*even_odd_events(32), ("u0", "new at the end", 10**13), ("u1", "i1", 10**13)]
    upserts = [NodeUpsert("item", item) for item in ("i1", "new at the end", "nobody took it")]
    protocol = protocol_of(Dataset("more", interactions_of(events), upserts), quick_settings(), plugins)
    ids = protocol._state.graph.nodes("item").ids.all_ids()
    assert "i1" in ids
    assert "new at the end" not in ids
    assert "nobody took it" not in ids


def baseline_rows() -> Interactions:
    """Two users had i0, two i1, three i2; of the last 28 days' purchases three are of i0, two of i1 and none of i2."""
    day = MS_PER_DAY
    train = [
        *[("u0", "i2", 0), ("u1", "i2", 0), ("u2", "i2", 0), ("u1", "i1", day), ("u0", "i0", 2 * day)],
        *[("u0", "i0", 40 * day), ("u1", "i0", 41 * day), ("u1", "i0", 41 * day)],
        *[("u2", "i1", 42 * day), ("u2", "i1", 43 * day)],
    ]
    return interactions_of([*train, ("u0", "i1", 44 * day)])


@pytest.mark.parametrize(
    ("name", "is_new_only", "expected"),
    [
        ("popularity", False, {"u0": ["i2"], "u2": ["i2"]}),
        ("popularity", True, {"u0": ["i1"], "u2": ["i0"]}),
        ("recent_popularity", False, {"u0": ["i0", "i1", "i2"], "u2": ["i0", "i1", "i2"]}),
        ("own_counts", False, {"u0": ["i0", "i2", "i1"], "u2": ["i1", "i2", "i0"]}),
    ],
)
def test_baselines_by_hand(name: str, is_new_only: bool, expected: dict[str, list[str]], plugins: Plugins) -> None:
    interactions = baseline_rows()
    rank = fitted(name, interactions, 10, plugins)
    users = np.array([list(interactions.user_ids).index(user) for user in expected])
    ranked = rank(users, is_new_only)
    assert ranked.shape == (2, K)
    assert (ranked[:, 3:] == -1).all()
    for row, items in zip(ranked, expected.values(), strict=True):
        assert [interactions.item_ids[item] for item in row[: len(items)]] == items


def fitted(name: str, interactions: Interactions, num_train: int, plugins: Plugins) -> FittedBaseline:
    split = Split(np.arange(num_train), np.arange(num_train, len(interactions)))
    return FittedBaseline(plugins.make("baseline", PartSettings(name=name)), interactions, split)


def test_baseline_ranks_what_the_train_part_has_and_nothing_else(plugins: Plugins) -> None:
    interactions = interactions_of([("u0", "a", 1), ("u1", "b", 2), ("u0", "later", 3)])
    assert sorted(fitted("popularity", interactions, 2, plugins)(np.array([0]), False)[0]) == [-1] * (K - 2) + [0, 1]


def test_stranger_gets_what_is_popular(plugins: Plugins) -> None:
    events = [("u0", "a", 1), ("u0", "b", 2), ("u1", "b", 3), ("new", "a", 4)]
    rank = fitted("own_counts", interactions_of(events), 3, plugins)
    assert rank(np.array([2]), False)[0, :2].tolist() == [1, 0]


def measured_by_hand(*answers: list[int]) -> Measured:
    """u0 had a, takes a and c; u1 had b, takes b and d, which is new to the shop; items a to d are 0 to 3."""
    day = MS_PER_DAY
    train = [("u0", "a", 0), ("u1", "b", 10 * day), ("u2", "c", 99 * day), ("u2", "d", 99 * day)]
    test = [("u0", "a", 100 * day), ("u0", "c", 100 * day), ("u1", "b", 100 * day), ("u1", "d", 100 * day)]
    dataset = Dataset("by hand", interactions_of([*train, *test]), [])
    split = Split(np.arange(4), np.arange(4, 8))
    questions = Questions(dataset.interactions, split, lambda progress: None)

    def rank(users: np.ndarray, is_new_only: bool) -> np.ndarray:
        ranked = np.full((len(users), K), -1, np.int64)
        for position, user in enumerate(users):
            ranked[position, : len(answers[user])] = answers[user]
        return ranked

    return Measurer(dataset, split, questions, ()).measure(rank, 1.5)


def test_new_repeat_and_all_are_told_apart_by_hand() -> None:
    found = measured_by_hand([0, 2], [3, 0]).measurement
    assert found.fit_seconds == 1.5
    assert {name: found.segments[name].recall for name in ("new", "repeat", "all")} == {
        "new": 1.0,  # c, and d.
        "repeat": 0.5,  # a, but not b.
        "all": 0.75,
    }
    first, second = 1.0, 1 / np.log2(3)
    # Asked for a: it stands first; for c: second. Of b nothing; of d: first.
    assert found.segments["repeat"].ndcg == pytest.approx((first + 0) / 2)
    assert found.segments["new"].ndcg == pytest.approx((second + first) / 2)
    assert found.segments["all"].ndcg == pytest.approx((1 + first / (first + second)) / 2)


def test_segments_by_age_ask_for_items_of_that_age_alone() -> None:
    found = measured_by_hand([0, 2], [3, 0]).measurement
    young, old = found.segments["all: item age < 7 days"], found.segments["all: item age >= 90 days"]
    assert (young.recall, young.num_users) == (1.0, 2)  # c of u0, d of u1.
    assert (old.recall, old.num_users) == (1.0, 1)  # a of u0; b, 89 days old, is of neither.
    assert found.segments["all: item age 28-89 days"].recall == 0.0


def test_what_is_kept_of_each_question_is_what_the_mean_is_of() -> None:
    found = measured_by_hand([0, 2], [3, 0])
    for segment in ("new", "repeat", "all"):
        assert found.arrays[f"{segment}.users"].tolist() == [0, 1]
        mean = found.measurement.segments[segment].ndcg
        assert found.arrays[f"{segment}.ndcg"].mean() == pytest.approx(mean, abs=1e-6)
        assert found.measurement.segments[segment].low <= mean <= found.measurement.segments[segment].high


def test_answers_are_described_beyond_accuracy() -> None:
    metrics = measured_by_hand([0, 2], [3, 0]).measurement.segments["all"].metrics
    assert metrics["coverage@20"] == 0.75  # All but b.


def test_scores_of_a_model_are_chances(measured: Measured) -> None:
    predicted, observed, counts = measured.arrays["reliability"]
    assert counts.sum() == 62 * K  # Users of the test part.
    assert (np.diff(predicted) >= 0).all()
    # The best few of each user are the right ones, and hardly anything else comes.
    assert observed[-1] == pytest.approx(predicted[-1], rel=0.5)
    assert observed[:5].max() < 0.02


def test_bins_of_chances_by_hand() -> None:
    means = binned(np.array([0.4, 0.1, 0.2, 0.3]), np.array([1.0, 0.0, 0.5, 0.0]), 2)
    np.testing.assert_allclose(means, [[0.15, 0.35], [0.25, 0.5], [2, 2]])


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("global", ["global"]),
        ("leave-one-out", ["leave-one-out"]),
        ("walk-forward", [f"walk-forward {block} of 4" for block in (1, 2, 3, 4)]),
    ],
)
def test_every_cut_has_a_name_and_is_made_by_it(split: str, names: list[str]) -> None:
    interactions = even_odd_dataset().interactions
    assert cut_names(split) == names
    cuts = [cut_at(interactions, name) for name in names]
    assert len({len(cut.train) for cut in cuts}) == len(names)
    assert all(len(cut.test) for cut in cuts)


def test_cut_of_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="no cut named 'tomorrow'"):
        cut_at(even_odd_dataset().interactions, "tomorrow")


def test_cold_users_are_kept_if_asked_for() -> None:
    events = [*even_odd_events(16), ("stranger", "i1", 10**13)]
    [name] = cut_names("global", is_cold_kept=True)
    interactions = interactions_of(events)
    assert len(interactions) - 1 in cut_at(interactions, name).test
    assert len(interactions) - 1 not in cut_at(interactions, "global").test
