"""What a search over settings may change, what it is after, and the file that keeps its trials."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
from pydantic import Field

from springtide.errors import SettingsError, TrainingError
from springtide.evaluation.data.datasets import Dataset
from springtide.evaluation.splits.time_splits import global_time_split
from springtide.evaluation.tuning.judging import Trial, compare_trials, cut_for_tuning, score, scores_of_each
from springtide.evaluation.tuning.search_space import (
    Choices,
    Dimension,
    Range,
    in_words,
    present_values,
    search_space,
    with_values,
)
from springtide.evaluation.tuning.trials import TrialsFile
from springtide.plugins.contracts import Loss
from springtide.plugins.loading import Plugins, load_plugins
from springtide.settings.load import load_settings
from springtide.settings.model import PartSettings, Settings
from springtide.settings.view import changes_to_toml
from springtide.testing import START_MS, even_odd_events, interactions_of, quick_settings

PRESENT = {"new": 0.05, "all": 0.4}
CCE = Settings.model_validate({"model": {"loss": "cce", "negatives": "popularity"}})


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins()


def named(space: list[Dimension]) -> Mapping[str, Dimension]:
    return {dimension.name: dimension for dimension in space}


def choices_of(name: str, settings: Settings, plugins: Plugins) -> tuple[object, ...]:
    dimension = named(search_space(settings, plugins))[name]
    assert isinstance(dimension, Choices)
    return dimension.choices


def range_of(name: str, settings: Settings, plugins: Plugins) -> tuple[float, float]:
    dimension = named(search_space(settings, plugins))[name]
    assert isinstance(dimension, Range)
    return dimension.low, dimension.high


def arrays_of(new: dict[int, float], everything: dict[int, float]) -> dict[str, np.ndarray]:
    arrays = {}
    for segment, of in (("new", new), ("all", everything)):
        arrays[f"{segment}.users"] = np.array(list(of), np.int32)
        arrays[f"{segment}.ndcg"] = np.array(list(of.values()), np.float32)
    return arrays


# ---------------------------------------------------------------------------------------------------------- the cut


def test_test_part_is_not_even_in_the_data_to_tune_on() -> None:
    dataset = Dataset("made up", interactions_of(even_odd_events(24)), [])
    tested = dataset.interactions.timestamps_ms[global_time_split(dataset.interactions).test]

    shown, split = cut_for_tuning(dataset)

    assert shown.interactions.timestamps_ms.max() < tested.min()
    assert len(shown.interactions) == len(global_time_split(dataset.interactions).train)
    assert set(split.train) | set(split.test) == set(range(len(shown.interactions)))


def test_validation_is_the_last_tenth_of_the_train_part() -> None:
    # 24 users with 11 or 12 items each: 264 interactions, of which 237 are the train part, and of those 213 come first.
    shown, split = cut_for_tuning(Dataset("made up", interactions_of(even_odd_events(24)), []))

    assert (len(shown.interactions), len(split.train), len(split.test)) == (237, 213, 24)
    assert split.train.max() < split.test.min()


def test_too_little_to_cut_is_refused() -> None:
    events = [(f"u{user}", "i0", START_MS + user) for user in range(20)]

    with pytest.raises(TrainingError, match="both sides of a cut in time, got none on one side, of 20 in all"):
        cut_for_tuning(Dataset("made up", interactions_of(events), []))


# -------------------------------------------------------------------------------------------------------- the space


def test_present_values_change_nothing(plugins: Plugins) -> None:
    loss = {"name": "bce", "options": {"temperature": 0.123456}}
    settings = quick_settings(model={"loss": loss, "aggregator": "mean"}, training={"learning_rate": 0.0123456})
    space = search_space(settings, plugins)

    assert with_values(settings, space, present_values(space)) == settings
    assert in_words(space, present_values(space)) == ""


def test_present_value_is_in_the_space_however_odd(plugins: Plugins) -> None:
    settings = quick_settings(
        model={"num_layers": 7, "negatives": "hard"}, training={"learning_rate": 1e-6, "edge_half_life_days": 77.0}
    )

    for dimension in search_space(settings, plugins):
        if isinstance(dimension, Choices):
            assert dimension.present in dimension.choices
        else:
            assert dimension.low <= dimension.present <= dimension.high


def test_losses_that_want_ratings_are_not_tried(plugins: Plugins) -> None:
    losses = choices_of("model.loss", CCE, plugins)

    assert "mse" not in losses
    assert {"cce", "bce", "pairwise_logistic"} <= set(losses)


def test_losses_and_samplers_go_together_whichever_are_chosen(plugins: Plugins) -> None:
    # "hard" selects, which "reconstruction" cannot have.
    selecting = Settings.model_validate({"model": {"loss": "cce", "negatives": "hard"}})

    assert "hard" not in choices_of("model.negatives", CCE, plugins)
    assert "reconstruction" in choices_of("model.loss", CCE, plugins)
    assert "hard" in choices_of("model.negatives", selecting, plugins)
    assert "reconstruction" not in choices_of("model.loss", selecting, plugins)


def test_every_combination_of_parts_works(plugins: Plugins) -> None:
    settings = Settings()
    space = search_space(settings, plugins)
    for name in ("model.loss", "model.encoder", "model.negatives"):
        for choice in choices_of(name, settings, plugins):
            plugins.check(with_values(settings, space, {name: choice}))


def test_number_options_range_within_what_the_loss_declares(plugins: Plugins) -> None:
    class Bounded(Loss):
        """Declares bounds."""

        def __init__(
            self,
            margin: Annotated[float, Field(gt=0, le=2)] = 1.0,
            share: Annotated[float, Field(gt=0, lt=1)] = 0.5,
            floor: Annotated[float, Field(ge=0.3)] = 0.4,
            off: Annotated[float, Field(ge=0)] = 0.0,
            free: float = 0.2,
        ) -> None:
            super().__init__()

    more = plugins.with_part("loss", "bounded", Bounded)

    assert range_of("model.loss.bounded.margin", Settings(), more) == (0.25, 2.0)
    assert range_of("model.loss.bounded.share", Settings(), more) == (0.125, pytest.approx(0.995))
    assert range_of("model.loss.bounded.floor", Settings(), more) == (0.3, 1.6)
    assert range_of("model.loss.bounded.free", Settings(), more) == (0.05, 0.8)
    assert "model.loss.bounded.off" not in named(search_space(Settings(), more))


def test_option_of_the_own_loss_ranges_around_its_own_value(plugins: Plugins) -> None:
    settings = Settings.model_validate({"model": {"loss": {"name": "cce", "options": {"temperature": 0.4}}}})

    assert range_of("model.loss.cce.temperature", settings, plugins) == (0.1, 1.6)


def test_chosen_values_are_set_rounded(plugins: Plugins) -> None:
    settings = CCE
    values = {
        "model.loss": "bce",
        "model.loss.bce.temperature": 0.234567,
        "model.width": 128,
        "training.learning_rate": 0.0123456,
        "training.positive_half_life_days": None,
    }

    tuned = with_values(settings, search_space(settings, plugins), values)

    assert tuned.model.loss == PartSettings(name="bce", options={"temperature": 0.235})
    assert tuned.model.width == 128
    assert (tuned.training.learning_rate, tuned.training.positive_half_life_days) == (0.0123, None)


def test_another_encoder_comes_without_the_options_and_aggregator_of_the_present_one(plugins: Plugins) -> None:
    encoder = {"name": "graphsage", "options": {"fanout": 7}}
    settings = Settings.model_validate({"model": {"encoder": encoder, "aggregator": "max"}})
    space = search_space(settings, plugins)

    tuned = with_values(settings, space, {"model.encoder": "gcn"})
    same = with_values(settings, space, {"model.encoder": "graphsage", "training.steps": 33})

    assert (tuned.model.encoder, tuned.model.aggregator) == (PartSettings(name="gcn"), None)
    assert (same.model.encoder, same.model.aggregator) == (settings.model.encoder, PartSettings(name="max"))


def test_options_of_other_losses_apply_to_no_present_value(plugins: Plugins) -> None:
    present = present_values(search_space(CCE, plugins))

    assert "model.loss.cce.temperature" in present
    assert not [name for name in present if name.startswith("model.loss.") and not name.startswith("model.loss.cce.")]


# ---------------------------------------------------------------------------------------------------- the objective


def test_segments_count_alike() -> None:
    assert score(PRESENT, PRESENT) == pytest.approx(1.0)
    assert score({"new": 0.055, "all": 0.4}, PRESENT) == pytest.approx(1.05)
    assert score({"new": 0.05, "all": 0.44}, PRESENT) == pytest.approx(1.05)


def test_where_the_present_has_nothing_the_metric_itself_counts() -> None:
    assert score({"new": 0.1, "all": 0.4}, {"new": 0.0, "all": 0.4}) == pytest.approx((0.1 + 1.0) / 2)


def test_what_users_add_has_the_score_as_its_mean() -> None:
    # new: (0.2 + 0.4) / 2 = 0.3; all: (0.3 + 0.6 + 0.9 + 0.0) / 4 = 0.45.
    arrays = arrays_of({3: 0.2, 9: 0.4}, {1: 0.3, 3: 0.6, 9: 0.9, 12: 0.0})

    of_each = scores_of_each(arrays, PRESENT)

    assert len(of_each) == 4
    assert of_each[0] == pytest.approx(0.3 / 0.4 / 2)  # User 1 has no new items.
    assert of_each[1] == pytest.approx((2 * 0.2 / 0.05 + 0.6 / 0.4) / 2)
    assert of_each.mean() == pytest.approx(score({"new": 0.3, "all": 0.45}, PRESENT))


def test_same_gain_for_all_is_beyond_one_standard_error_and_a_gain_of_chance_is_not() -> None:
    users = range(100)
    theirs = arrays_of({}, dict.fromkeys(users, 0.4))
    steady = arrays_of({}, dict.fromkeys(users, 0.41))
    # Mean +0.01, standard deviation about 0.4: one standard error is 0.04.
    chance = arrays_of({}, {user: 0.81 if user % 2 else 0.01 for user in users})

    assert compare_trials(steady, theirs, {"all": 0.4}, seed=0).is_better
    assert not compare_trials(chance, theirs, {"all": 0.4}, seed=0).is_better


# --------------------------------------------------------------------------------------------------------- the file


def test_trials_are_read_back_study_by_study(tmp_path: Path) -> None:
    file = TrialsFile(tmp_path / "trials.jsonl")
    first = Trial("a", 0, {"training.steps": 60, "training.edge_half_life_days": None}, {"all": 0.4}, 9, 1.5)
    failed = Trial("a", 1, {"model.loss": "bce"}, failure="it broke")
    for trial in (first, Trial("b", 0, {}), failed):
        file.add(trial)

    again = TrialsFile(tmp_path / "trials.jsonl")

    assert again.of_study("a") == [first, failed]
    assert again.of_study("c") == []


def test_what_a_trial_is_made_of_is_kept(tmp_path: Path) -> None:
    trial = Trial("a", 0, {}, {"all": 0.4})
    TrialsFile(tmp_path / "trials.jsonl").add(trial, arrays_of({}, {7: 0.25}))

    kept = TrialsFile(tmp_path / "trials.jsonl").arrays(trial)

    assert (kept["all.users"].tolist(), kept["all.ndcg"].tolist()) == ([7], [0.25])


def test_archive_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="what trial 3 is made of is not in"):
        TrialsFile(tmp_path / "trials.jsonl").arrays(Trial("a", 3, {}))


def test_torn_last_line_is_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    TrialsFile(path).add(Trial("a", 0, {}))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:20])

    assert len(TrialsFile(path).of_study("a")) == 1
    assert path.read_bytes() == whole


@pytest.mark.parametrize("content", ["a letter", '{"key": 1}\n'])
def test_file_of_somebody_else_is_left_as_it_is(content: str, tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    path.write_text(content)

    with pytest.raises(SettingsError, match="of `springtide tune`, got"):
        TrialsFile(path)
    assert path.read_text() == content


# --------------------------------------------------------------------------------------------------------- the TOML


def test_changes_alone_are_written_and_read_back(tmp_path: Path, clean_environment: None) -> None:
    settings = Settings.model_validate(
        {
            "interactions": {"rating>=4": {}, "view": {"weight": 0.5}},
            "model": {
                "encoder": {"name": "gat", "options": {"heads": 2}},
                "aggregator": ["mean", "max"],
                "tasks": {"kind": {"name": "node_class", "weight": 0.5}},
            },
            "training": {"steps": 99, "positive_half_life_days": None, "edge_half_life_days": 33.0},
            "ranking": {"context_weights": {}},
        }
    )
    (tmp_path / "changes.toml").write_text(changes_to_toml(settings))

    assert load_settings(tmp_path / "changes.toml").settings == settings
    assert "learning_rate" not in (tmp_path / "changes.toml").read_text()


def test_no_change_is_nothing_to_read(tmp_path: Path, clean_environment: None) -> None:
    (tmp_path / "changes.toml").write_text(changes_to_toml(Settings()))

    assert (tmp_path / "changes.toml").read_text().strip() == ""
    assert load_settings(tmp_path / "changes.toml").settings == Settings()


def test_secrets_are_left_out_and_named() -> None:
    options = {"sasl_plain_password": "hunter2"}
    written = changes_to_toml(Settings.model_validate({"kafka": {"topic": "shop", "client_options": options}}))

    assert "hunter2" not in written
    assert "***" not in written
    assert "# Left out, since it holds a secret: kafka.client_options" in written
    assert 'topic = "shop"' in written


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPRINGTIDE_SETTINGS", "KAFKA_BOOTSTRAP_SERVERS"):
        monkeypatch.delenv(name, raising=False)
