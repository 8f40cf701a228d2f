"""The trainer: what it trains, whom it answers, and what it does when a training fails or must end."""

import dataclasses
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from springtide.checkpoint import CheckpointStore
from springtide.errors import SettingsError, TrainingError
from springtide.events.model import EventBatch, NodeDelete, NodeUpsert
from springtide.model.registry import ModelStore
from springtide.plugins.loading import load_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import (
    GateSettings,
    PartSettings,
    PluginSettings,
    RankingSettings,
    Settings,
)
from springtide.state import LiveState
from springtide.testing import interactions_of
from springtide_services.training import trainer as trainer_module
from springtide_services.training.trainer import Trainer
from springtide_services.training.training_folder import TrainingFolder
from springtide_services.training.training_report import TrainingStoppedError
from springtide_services.training.training_run import TrainingRun, train_once

NOW_MS = 1_700_000_000_000
NUM_USERS, NUM_ITEMS = 20, 10
WriteCheckpoint = Callable[..., str]


def trainer_of(settings: Settings, stopping: threading.Event | None = None) -> Trainer:
    """Return a trainer whose trainings run in this process; those of test_processes.py run in their own."""
    return Trainer(settings, TrainingRun(settings).run, stopping)


def test_the_first_model_is_made_once(settings: Settings, write_checkpoint: WriteCheckpoint) -> None:
    trainer = trainer_of(settings)
    assert trainer.step(NOW_MS) is None
    write_checkpoint(settings)
    assert trainer.step(NOW_MS) == "000001"
    assert trainer.step(NOW_MS) is None
    manifest = ModelStore(settings.model.url).manifest("000001")
    assert (manifest.training, manifest.graph_cut["num_events"], manifest.request_id) == ("retrain", 100, "")


def test_schedule_waits_a_moment_for_the_request_that_a_fresh_checkpoint_was_written_for(
    settings: Settings, write_checkpoint: WriteCheckpoint
) -> None:
    trainer, folder = trainer_of(settings), TrainingFolder.beside_models(settings)
    name = write_checkpoint(settings)
    created_ms = CheckpointStore(settings.checkpoint.url).open(name).created_ms
    assert trainer.step(created_ms + 500) is None
    request = folder.ask("retrain", name)
    assert trainer.step(created_ms + 500) == "000001"
    assert ModelStore(settings.model.url).manifest("000001").request_id == request.request_id
    assert trainer.step(created_ms + 2_000) is None, "trained once"


def test_schedule_trains_on_a_checkpoint_that_nobody_asked_for(
    settings: Settings, write_checkpoint: WriteCheckpoint
) -> None:
    created_ms = CheckpointStore(settings.checkpoint.url).open(write_checkpoint(settings)).created_ms
    assert trainer_of(settings).step(created_ms + 1_000) == "000001"


def test_training_gate_and_model_leave_out_what_no_longer_lives(
    settings: Settings, write_checkpoint: WriteCheckpoint
) -> None:
    settings = settings.model_copy(
        update={
            "ranking": RankingSettings(context_weights={"popularity": {}}),
            "gate": GateSettings(min_questions=10, baselines={"popularity": {}}),
        }
    )
    write_checkpoint(settings, repeats=3)
    checkpoints = CheckpointStore(settings.checkpoint.url)
    state = LiveState(settings, make_context_weights(settings.ranking, load_plugins(PluginSettings())))
    checkpoint = checkpoints.latest()
    assert checkpoint is not None
    checkpoints.restore(checkpoint, state)
    gone = [f"gone{number}" for number in range(50)]
    visits = interactions_of([(user, "i0", NOW_MS - 5 * NUM_ITEMS * NUM_USERS) for user in gone])
    state.apply(EventBatch(visits, [NodeUpsert("item", "nothing", timestamp_ms=NOW_MS)]))
    state.apply(EventBatch(interactions_of([]), deletes=[NodeDelete("user", user, NOW_MS) for user in gone]))
    checkpoints.write(state.snapshot())
    with capture_logs() as logs:
        assert trainer_of(settings).step(NOW_MS) == "000001"
    assert any(log["event"] == "model_judged" for log in logs)
    artifact = ModelStore(settings.model.url).load("000001")
    assert artifact.node_ids == {
        "user": [f"u{number}" for number in range(NUM_USERS)],
        "item": [f"i{number}" for number in range(NUM_ITEMS)],
    }
    assert len(artifact.tensors["vectors"]) == NUM_USERS + NUM_ITEMS


def test_a_request_is_answered_once_and_its_id_is_in_the_manifest(
    settings: Settings, write_checkpoint: WriteCheckpoint
) -> None:
    folder, store = TrainingFolder.beside_models(settings), ModelStore(settings.model.url)
    trainer = trainer_of(settings)
    request = folder.ask("retrain", write_checkpoint(settings))
    assert trainer.step(NOW_MS) == "000001"
    assert store.manifest("000001").request_id == request.request_id
    assert folder.requests() == []
    status = folder.status()
    assert status is not None
    assert (status.stage, status.model_version, status.request_id) == ("done", "000001", request.request_id)

    follower = folder.ask(None, "00000001")
    assert trainer.step(NOW_MS) == "000002"
    assert (store.manifest("000002").training, store.manifest("000002").request_id) == (
        "fine_tune",
        follower.request_id,
    )


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        pytest.param("{", "not JSON", id="broken"),
        pytest.param('{"version": "000001"}', "missing keys", id="missing keys"),
        pytest.param(None, "unknown keys: quantization", id="of a newer version"),
    ],
)
def test_a_version_that_cannot_be_read_stops_no_training_and_is_logged_once(
    settings: Settings, write_checkpoint: WriteCheckpoint, manifest: str | None, reason: str
) -> None:
    write_checkpoint(settings)
    train_once(settings)
    path = Path(settings.model.url) / "000001" / "manifest.json"
    path.write_text(manifest or json.dumps({**json.loads(path.read_bytes()), "quantization": "int8"}))
    trainer, folder = trainer_of(settings), TrainingFolder.beside_models(settings)
    with capture_logs() as logs:
        assert trainer.step(NOW_MS) == "000002", "the first model that it can read"
        assert trainer.step(NOW_MS) is None
        folder.ask("retrain", "00000001")
        assert trainer.step(NOW_MS) == "000003"
    unreadable = [entry for entry in logs if entry["event"] == "manifest_unreadable"]
    assert [(entry["log_level"], entry["version"]) for entry in unreadable] == [("warning", "000001")]
    assert reason in unreadable[0]["reason"]
    errors = [(entry["event"], entry["version"]) for entry in logs if entry["log_level"] == "error"]
    assert errors == [("model_damaged", "000001")], "it is the current one, so it is told loudly, once"


def test_a_current_version_that_cannot_be_read_stops_no_training(
    settings: Settings, write_checkpoint: WriteCheckpoint
) -> None:
    training = settings.training.model_copy(update={"min_refit_events": 100, "refit_after_events": 200})
    settings = settings.model_copy(
        update={"training": training, "ranking": RankingSettings(context_weights={"popularity": {}})}
    )
    trainer, store = trainer_of(settings), ModelStore(settings.model.url)
    write_checkpoint(settings)
    assert trainer.step(NOW_MS) == "000001"
    created_ms = store.manifest("000001").created_ms
    assert train_once(settings) == "000002"
    path = Path(settings.model.url) / "000002" / "manifest.json"
    path.write_text("{")
    write_checkpoint(settings, repeats=3)
    assert trainer.step(created_ms + 1) == "000003"
    assert store.current() == "000003"


def test_a_model_that_cannot_be_fine_tuned_is_retrained(settings: Settings, write_checkpoint: WriteCheckpoint) -> None:
    write_checkpoint(settings)
    train_once(settings)
    wider = settings.model_copy(update={"model": settings.model.model_copy(update={"width": 12})})
    store = ModelStore(settings.model.url)
    assert store.manifest(train_once(wider, "fine_tune")).training == "retrain"
    assert store.manifest(train_once(wider, "fine_tune")).training == "fine_tune"
    (Path(settings.model.url) / "000003" / "tensors.safetensors").write_bytes(b"damaged")
    assert store.manifest(train_once(wider, "fine_tune")).training == "fine_tune", "from the one before"
    for version in ("000002", "000004"):
        (Path(settings.model.url) / version / "tensors.safetensors").write_bytes(b"damaged")
    assert store.manifest(train_once(wider, "fine_tune")).training == "retrain"


@pytest.mark.parametrize("what", ["segments", "manifests"])
def test_an_older_checkpoint_is_trained_on_once_if_the_newest_is_damaged(
    settings: Settings, write_checkpoint: WriteCheckpoint, what: str
) -> None:
    write_checkpoint(settings)
    write_checkpoint(settings, repeats=9)
    trainer, store = trainer_of(settings), ModelStore(settings.model.url)
    newest = sorted((Path(settings.checkpoint.url) / what).glob("00000002*"))[0]
    newest.write_bytes(newest.read_bytes()[:-9])
    with capture_logs() as logs:
        assert trainer.step(NOW_MS) == "000001"
        assert trainer.step(NOW_MS + 10_000_000) is None, "it would be the same once more"
    assert store.manifest("000001").graph_cut["num_interactions"] == 100
    told = [log for log in logs if log["event"] == "checkpoint_damaged"]
    assert {log["checkpoint"] for log in told} == {"00000002"}


def test_exponents_alone_are_learned_anew_when_that_is_due(
    settings: Settings, write_checkpoint: WriteCheckpoint
) -> None:
    training = settings.training.model_copy(
        update={"min_refit_events": 100, "refit_after_events": 200, "fine_tune_after_events": 400}
    )
    settings = settings.model_copy(
        update={"training": training, "ranking": RankingSettings(context_weights={"popularity": {}})}
    )
    trainer, store = trainer_of(settings), ModelStore(settings.model.url)
    made = []
    for repeats in (1, 2, 3, 4, 5):  # Of 100 events each.
        write_checkpoint(settings, repeats=repeats)
        version = trainer.step(store.manifest(made[-1][0]).created_ms + 1 if made else NOW_MS)
        if version is not None:
            made.append((version, store.manifest(version).training, repeats))
    assert [(mode, repeats) for _, mode, repeats in made] == [("retrain", 1), ("refit", 3), ("fine_tune", 5)]
    assert store.manifest(made[1][0]).graph_cut["num_interactions"] == 100, "the vectors are those of the first"


def test_a_request_that_was_answered_before_a_crash_is_only_closed(
    settings: Settings, write_checkpoint: WriteCheckpoint
) -> None:
    folder = TrainingFolder.beside_models(settings)
    request = folder.ask("retrain", write_checkpoint(settings))
    trainer_of(settings).step(NOW_MS)
    path = Path(settings.model.url).parent / "training" / "requests" / f"{request.request_id}.json"
    path.write_text(json.dumps(dataclasses.asdict(request)))
    assert trainer_of(settings).step(NOW_MS) is None
    assert folder.requests() == []
    assert ModelStore(settings.model.url).versions() == ["000001"]


def test_a_graph_without_positive_interactions_refuses_a_request_with_its_reason(
    settings: Settings, write_checkpoint: WriteCheckpoint
) -> None:
    folder = TrainingFolder.beside_models(settings)
    folder.ask("retrain", write_checkpoint(settings, relation="dislike"))
    assert trainer_of(settings).step(NOW_MS) is None
    assert folder.requests() == []
    status = folder.status()
    assert status is not None
    assert status.stage == "failed"
    assert "TrainingError" in status.failure


def test_a_graph_that_was_refused_is_not_tried_again_until_it_changes(
    settings: Settings, write_checkpoint: WriteCheckpoint
) -> None:
    trainer = trainer_of(settings)
    write_checkpoint(settings, relation="dislike")
    with capture_logs() as logs:
        for _ in range(3):
            trainer.step(NOW_MS)
    assert [entry["event"] for entry in logs].count("training_refused") == 1
    write_checkpoint(settings)
    assert trainer.step(NOW_MS) == "000001"


def test_a_failed_training_is_logged_and_tried_again_later(
    settings: Settings, write_checkpoint: WriteCheckpoint
) -> None:
    nowhere = settings.model_copy(update={"training": settings.training.model_copy(update={"device": "wormhole"})})
    trainer = trainer_of(nowhere)
    write_checkpoint(settings)
    with capture_logs() as logs:
        trainer.step(NOW_MS)
        trainer.step(NOW_MS)
    failures = [entry for entry in logs if entry["event"] == "training_failed"]
    assert [entry["retry_s"] for entry in failures] == [2.0]
    assert "wormhole" in str(failures[0]["exc_info"])


def test_settings_whose_parts_cannot_work_are_refused_at_once(settings: Settings) -> None:
    model = settings.model.model_copy(update={"encoder": PartSettings(name="nothing_of_that_name")})
    with pytest.raises(SettingsError, match=r"^model\.encoder: no encoder named 'nothing_of_that_name' \(choices: "):
        TrainingRun(settings.model_copy(update={"model": model}))


def test_plugin_that_is_left_out_is_logged_at_the_start(settings: Settings) -> None:
    plugins = PluginSettings(modules=("no_such_module",), on_error="skip")
    with capture_logs() as logs:
        TrainingRun(settings.model_copy(update={"plugins": plugins}))
    (entry,) = [entry for entry in logs if entry["event"] == "plugin_left_out"]
    assert (entry["log_level"], entry["plugin"]) == ("warning", "no_such_module")
    assert entry["reason"] == "No module named 'no_such_module'"


def test_a_trainer_that_is_told_to_stop_leaves_the_request_open(
    settings: Settings, write_checkpoint: WriteCheckpoint
) -> None:
    folder = TrainingFolder.beside_models(settings)
    request = folder.ask("retrain", write_checkpoint(settings))
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(TrainingStoppedError):
        trainer_of(settings, stopping).step(NOW_MS)
    assert [open_.request_id for open_ in folder.requests()] == [request.request_id]


def test_a_store_that_is_away_is_logged_once_and_the_trainer_goes_on(
    settings: Settings, write_checkpoint: WriteCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer_module, "_POLL_S", 0.01)
    monkeypatch.setattr(trainer_module, "_FIRST_RETRY_S", 0.01)
    write_checkpoint(settings)
    requests = tmp_path / "training" / "requests"
    requests.parent.mkdir()
    requests.write_text("a file where the folder of requests should be")
    stopping = threading.Event()
    running = threading.Thread(target=trainer_of(settings, stopping).run)
    with capture_logs() as logs:
        running.start()
        deadline = time.monotonic() + 60
        while not any(entry["event"] == "trainer_step_failed" for entry in logs) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.3)  # It tries again meanwhile, and says nothing.
        requests.unlink()
        while not (tmp_path / "models" / "current.json").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        stopping.set()
        running.join(60)
    assert ModelStore(settings.model.url).current() == "000001"
    assert [entry["event"] for entry in logs].count("trainer_step_failed") == 1


def test_a_stopped_trainer_ends_its_loop(settings: Settings) -> None:
    stopping = threading.Event()
    running = threading.Thread(target=trainer_of(settings, stopping).run)
    running.start()
    stopping.set()
    running.join(60)
    assert not running.is_alive()


def test_training_once_without_a_checkpoint_says_what_is_missing(settings: Settings) -> None:
    with pytest.raises(TrainingError, match="no checkpoint in"):
        train_once(settings)


def test_training_once_tells_its_progress(settings: Settings, write_checkpoint: WriteCheckpoint) -> None:
    write_checkpoint(settings)
    stages: list[str] = []
    assert train_once(settings, "retrain", lambda progress: stages.append(progress.stage)) == "000001"
    assert (stages[0], stages[-1]) == ("load", "publish")
    assert len(set(stages)) > 2


def test_a_file_that_is_not_a_request_is_reported_once_and_left(settings: Settings) -> None:
    folder = TrainingFolder.beside_models(settings)
    request = folder.ask(None, "00000001")
    (Path(settings.model.url).parent / "training" / "requests" / "note.json").write_text("not a request")
    with capture_logs() as logs:
        assert folder.requests() == [request]
        assert folder.requests() == [request]
    assert [entry["event"] for entry in logs] == ["training_request_unreadable"]


LONGEST_AGO = """
import numpy as np

from springtide.plugins.contracts import Baseline
from springtide.plugins.hookspecs import hookimpl


class LongestAgo(Baseline):
    def fit(self, interactions, num_users, num_items):
        self.num_items = num_items

    def scores(self, user_rows, histories, now_ms):
        scores = np.zeros((len(user_rows), self.num_items), np.float32)
        for of_user, history in zip(scores, histories, strict=True):
            first = np.unique(history.item_rows, return_index=True)
            of_user[first[0]] = 1 + first[1]
        return scores

    def state(self):
        return {"num_items": np.array([self.num_items])}

    def restore(self, state):
        self.num_items = state["num_items"].item()


@hookimpl
def register_baselines(register):
    register("longest_ago", LongestAgo)
"""
"""A baseline that knows how the checkpoints above were made: users take their items in turn."""


def gated(settings: Settings, tmp_path: Path, *baselines: str) -> Settings:
    """Settings of a gate that is content with few questions, and of models that have learned next to nothing."""
    (tmp_path / "plugins").mkdir(exist_ok=True)
    (tmp_path / "plugins" / "longest_ago.py").write_text(LONGEST_AGO)
    return settings.model_copy(
        update={
            "plugins": PluginSettings(folder=str(tmp_path / "plugins")),
            "gate": GateSettings(min_questions=20, num_questions=60, baselines={name: {} for name in baselines}),
            "training": settings.training.model_copy(
                update={"steps": 1, "fine_tune_steps": 1, "min_passes": 0.0, "min_refit_events": 100}
            ),
        }
    )


def test_a_model_that_a_baseline_beats_is_rejected_and_the_baseline_serves(
    settings: Settings, write_checkpoint: WriteCheckpoint, tmp_path: Path
) -> None:
    settings = gated(settings, tmp_path, "longest_ago")
    write_checkpoint(settings, repeats=6)
    store = ModelStore(settings.model.url)
    assert train_once(settings) == "000001"
    gate = store.manifest("000001").gate
    assert (gate["verdict"], gate["best_baseline"]["name"]) == ("rejected", "longest_ago")
    assert gate["reason"].startswith("behind longest_ago; NDCG@20 0.")
    assert store.current() == "000002"
    serving = store.manifest("000002")
    assert (serving.training, serving.parts["baseline"]["name"]) == ("baseline", "longest_ago")
    entries = [(entry.action, entry.to_version, entry.reason) for entry in store.audit.entries()]
    assert entries == [
        ("reject", "000001", gate["reason"]),
        ("promote", "000002", "longest_ago is the best there is: 000001 was rejected"),
    ]
    assert all(entry.actor.startswith("trainer ") for entry in store.audit.entries())


def test_what_follows_a_baseline_is_a_retraining_and_comes_when_it_is_due(
    settings: Settings, write_checkpoint: WriteCheckpoint, tmp_path: Path
) -> None:
    settings = gated(settings, tmp_path, "longest_ago")
    write_checkpoint(settings, repeats=6)
    trainer, store = trainer_of(settings), ModelStore(settings.model.url)
    assert trainer.step(NOW_MS) == "000001"
    assert trainer.step(store.manifest("000001").created_ms + 1) is None, "nothing new: no training"
    write_checkpoint(settings, repeats=8)
    assert train_once(settings, "fine_tune") == "000003"
    assert store.manifest("000003").training == "retrain"
    assert store.manifest("000003").gate["champion"]["version"] == "000002"


def test_a_model_that_passes_is_promoted_with_the_numbers(
    settings: Settings, write_checkpoint: WriteCheckpoint, tmp_path: Path
) -> None:
    settings = gated(settings, tmp_path)
    write_checkpoint(settings, repeats=6)
    train_once(settings)
    write_checkpoint(settings, repeats=8)
    for mode in ("retrain", "fine_tune", "refit"):
        if mode == "refit":
            write_checkpoint(settings, repeats=10)
        train_once(settings, mode)  # type: ignore[arg-type]  # The modes.
    store = ModelStore(settings.model.url)
    manifests = [store.manifest(version) for version in reversed(store.versions())]
    assert [manifest.training for manifest in manifests] == ["retrain", "retrain", "fine_tune", "refit"]
    assert [manifest.graph_cut["vectors_by"] for manifest in manifests] == [
        "retrain",
        "retrain",
        "fine_tune",
        "fine_tune",
    ]
    assert {manifest.gate["verdict"] for manifest in manifests} <= {"promoted", "not judged", "rejected"}
    assert manifests[1].gate["champion"]["version"] == "000001"


def test_without_the_gate_every_model_is_promoted(
    settings: Settings, write_checkpoint: WriteCheckpoint, tmp_path: Path
) -> None:
    settings = gated(settings, tmp_path, "longest_ago")
    settings = settings.model_copy(update={"gate": GateSettings(is_on=False)})
    write_checkpoint(settings, repeats=6)
    store = ModelStore(settings.model.url)
    assert train_once(settings) == store.current()
    assert store.manifest("000001").gate == {}


def test_no_exponents_are_learned_on_schedule_while_a_baseline_serves(
    settings: Settings, write_checkpoint: WriteCheckpoint, tmp_path: Path
) -> None:
    settings = gated(settings, tmp_path, "longest_ago")
    training = settings.training.model_copy(update={"refit_after_events": 100, "fine_tune_after_events": 300})
    settings = settings.model_copy(update={"training": training})
    trainer, store = trainer_of(settings), ModelStore(settings.model.url)
    write_checkpoint(settings, repeats=6)
    assert trainer.step(NOW_MS) == "000001"
    later_ms = store.manifest("000001").created_ms + 1
    write_checkpoint(settings, repeats=8)
    assert trainer.step(later_ms) is None
    write_checkpoint(settings, repeats=9)
    assert trainer.step(later_ms) == "000003"
