"""Following what steers: new versions hold within a second, damaged ones do not, and a file may be their source."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from springtide.model.registry import ModelStore
from springtide.ranking.ranker import Ranker
from springtide.settings.model import RankingSettings, Settings
from springtide.state import LiveState
from springtide.steering.editing import Edit, edited
from springtide.steering.store import SteeringStore
from springtide.steering.values import Rule, Steering
from springtide_services.serving import steering_follower
from springtide_services.serving.steering_follower import SteeringFollower

FILE = '[rules.{}]\naction = "block"\nitems = ["i1"]\n'


@pytest.fixture
def store(tmp_path: Path) -> SteeringStore:
    return SteeringStore(str(tmp_path / "steering"))


@pytest.fixture
def state() -> LiveState:
    return LiveState(Settings(), {})


@pytest.fixture
def ranker(state: LiveState) -> Ranker:
    return Ranker(state, RankingSettings())


@pytest.fixture
def follower(store: SteeringStore, state: LiveState, ranker: Ranker, tmp_path: Path) -> Iterator[SteeringFollower]:
    follower = SteeringFollower(store, ModelStore(str(tmp_path / "models")), state, ranker)
    yield follower
    follower.stop()


def put(store: SteeringStore, name: str) -> int:
    edit = Edit(Steering((Rule(name, "block", ("i1",)),)))
    return store.change(lambda steering: edited(steering, edit))[0].version


def names(ranker: Ranker) -> list[str]:
    return [rule.name for rule in ranker.steering.rules]


def test_a_version_of_another_process_holds_within_a_second(
    store: SteeringStore, ranker: Ranker, follower: SteeringFollower
) -> None:
    put(store, "before")
    follower.start()
    assert names(ranker) == ["before"]
    took_s = []
    for number in range(5):
        wanted = put(SteeringStore(store.url), f"r{number}")
        started = time.monotonic()
        while ranker.steering.version != wanted:
            assert time.monotonic() - started < 60.0
            time.sleep(0.01)
        took_s.append(time.monotonic() - started)
    assert sorted(took_s)[2] < 1.0


def test_a_change_holds_when_the_call_returns(ranker: Ranker, follower: SteeringFollower) -> None:
    follower.change(lambda _: Steering((Rule("now", "block", ("i1",)),)), actor="me", reason="")
    assert names(ranker) == ["now"]


def test_another_ranker_takes_over_what_holds_and_what_comes(
    store: SteeringStore, state: LiveState, follower: SteeringFollower
) -> None:
    put(store, "before")
    follower.check()
    other = Ranker(state, RankingSettings())
    follower.serve_on(state, other)
    assert names(other) == ["before"]
    put(store, "after")
    follower.check()
    assert names(other) == ["after", "before"]


def test_a_damaged_version_leaves_the_one_before_and_a_later_one_mends_it(
    store: SteeringStore, ranker: Ranker, follower: SteeringFollower
) -> None:
    put(store, "first")
    follower.check()
    put(store, "second")
    (Path(store.url) / "versions" / "000000000002.json").write_bytes(b"{}")
    follower.check()
    assert (names(ranker), "000000000002.json" in follower.fault) == (["first"], True)
    put(store, "third")
    follower.check()
    assert (names(ranker), follower.fault) == (["first", "third"], "")


def test_a_version_that_is_damaged_after_it_was_read_holds_on(
    store: SteeringStore, ranker: Ranker, follower: SteeringFollower
) -> None:
    put(store, "first")
    put(store, "second")
    follower.check()
    (Path(store.url) / "versions" / "000000000002.json").write_bytes(b"{}")
    for _ in range(steering_follower._LOOK_POLLS + 1):
        follower.check()
    assert names(ranker) == ["first", "second"]
    assert follower.fault


def test_versions_that_were_deleted_meanwhile_are_passed_by(
    store: SteeringStore, ranker: Ranker, follower: SteeringFollower
) -> None:
    put(store, "first")
    follower.check()
    for number in range(3):
        put(store, f"r{number}")
    for number in (2, 3):
        (Path(store.url) / "versions" / f"{number:012d}.json").unlink()
    for _ in range(steering_follower._LOOK_POLLS + 1):
        follower.check()
    assert ranker.steering.version == 4


def test_a_store_that_is_away_leaves_what_holds(
    store: SteeringStore, ranker: Ranker, follower: SteeringFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "first")
    follower.check()

    def away(*_: object) -> bool:
        raise OSError("away")

    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(store, "has", away)
        follower.check()
        patch.setattr(store, "load", away)
        follower.check()
    assert (names(ranker), follower.fault) == (["first"], "away")
    assert [entry["event"] for entry in logs] == ["steering_not_read"]
    follower.check()
    assert follower.fault == ""


@pytest.fixture
def from_file(store: SteeringStore, state: LiveState, ranker: Ranker, tmp_path: Path) -> SteeringFollower:
    file = tmp_path / "steering.toml"
    return SteeringFollower(store, ModelStore(str(tmp_path / "models")), state, ranker, str(file))


def look(follower: SteeringFollower) -> None:
    for _ in range(steering_follower._FILE_POLLS):
        follower.check()


def test_a_file_replaces_all_at_the_start_and_whenever_it_changes(
    store: SteeringStore, ranker: Ranker, from_file: SteeringFollower, tmp_path: Path
) -> None:
    put(store, "of-calls")
    file = tmp_path / "steering.toml"
    file.write_text(FILE.format("first"))
    look(from_file)
    assert names(ranker) == ["first"]
    look(from_file)
    assert ranker.steering.version == 2  # It is not written again.
    file.write_text(FILE.format("second"))
    os.utime(file, ns=(1, 1))  # Whatever its time is.
    look(from_file)
    assert names(ranker) == ["second"]
    assert store.changes(1)[0].actor.endswith("steering.toml")


def test_a_wrong_file_is_told_once_and_leaves_what_holds(
    ranker: Ranker, from_file: SteeringFollower, tmp_path: Path
) -> None:
    file = tmp_path / "steering.toml"
    with capture_logs() as logs:
        look(from_file)
        look(from_file)
        assert "cannot be read" in from_file.fault
        file.write_text(FILE.format("first"))
        look(from_file)
        assert (names(ranker), from_file.fault) == (["first"], "")
        file.write_text(FILE.format("second") + "slot = 1\n")
        look(from_file)
        look(from_file)
        file.unlink()
        look(from_file)
    assert names(ranker) == ["first"]
    assert [entry["event"] for entry in logs if "file" in entry["event"]] == ["steering_file_refused"] * 3
