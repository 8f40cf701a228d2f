"""The store of what steers: changes by several processes at once, half a change, damaged versions, what is kept."""

import dataclasses
import json
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from springtide.errors import InvalidRequestError, SteeringError
from springtide.settings.model import ModelSettings, Settings, SteeringSettings
from springtide.steering.editing import Edit, edited
from springtide.steering.store import SteeringStore, from_json, to_json, url_of
from springtide.steering.values import Experiment, QuerySteering, Rule, Scenario, Steering, Variant
from springtide.token_search import Token

BLOCK = Rule("old", "block", ("i1", "i2"), end_ms=1_800_000_000_000)
ALL = Steering(
    rules=(BLOCK, Rule("top", "pin", ("i3",), filter="price < 2", segment="user.vip", slot=2, scenarios=("home",))),
    scenarios={
        "home": Scenario(
            "home",
            QuerySteering(filter="a", max_per=(("brand", 2),), diversity=0.5, weights=(("cosine", 0.5),)),
            count=5,
            exclude_seen=("*",),
        )
    },
    experiments=(Experiment("new", (Variant("b", 0.5), Variant("a", 0.5, "000001", "home", (("season", 0.0),)))),),
)


@pytest.fixture(params=["folder", "memory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        return f"{request.getfixturevalue('s3_bucket')}/steering"
    return str(tmp_path) if request.param == "folder" else f"memory://steering-{uuid.uuid4().hex}"


def put(store: SteeringStore, *rules: Rule, reason: str = "") -> int:
    edit = Edit(Steering(rules))
    return store.change(lambda steering: edited(steering, edit), actor="me", reason=reason)[0].version


def version_file(folder: Path, number: int) -> Path:
    return folder / "versions" / f"{number:012d}.json"


def test_what_is_put_is_loaded_by_others(url: str) -> None:
    steering, changes = SteeringStore(url).change(lambda _: ALL, actor="me")
    assert SteeringStore(url).load().steering == steering == dataclasses.replace(ALL, version=1)
    assert len(changes) == 4


def test_an_empty_store_steers_nothing(url: str) -> None:
    stored = SteeringStore(url).load()
    assert (stored.steering, stored.newest, stored.fault) == (Steering(), 0, "")
    assert SteeringStore(url).changes(10) == []


def test_each_change_tells_who_why_and_what(url: str) -> None:
    store = SteeringStore(url)
    put(store, BLOCK, reason="recalled")
    put(store, dataclasses.replace(BLOCK, items=("i2", "i9"), end_ms=None))
    store.change(lambda steering: edited(steering, Edit(remove_rules=("old",))), actor="you")
    third, second, first = SteeringStore(url).changes(10)
    assert (first.version, first.actor, first.reason) == (1, "me", "recalled")
    assert first.changes == ("Rule old is new: blocks 2 items (i1, i2) until 2027-01-15 08:00 UTC.",)
    assert second.changes == (
        "Rule old changes: 1 more item (i9); 1 fewer item (i1); end from 2027-01-15 08:00 UTC to none.",
    )
    assert (third.actor, third.changes) == ("you", ("Rule old is removed.",))


def test_a_change_that_changes_nothing_makes_no_version(url: str) -> None:
    store = SteeringStore(url)
    put(store, BLOCK)
    steering, changes = store.change(lambda steering: steering)
    assert (steering.version, changes, len(store.changes(10))) == (1, (), 1)


def test_a_change_that_is_refused_leaves_all_as_it_is(url: str) -> None:
    store = SteeringStore(url)
    put(store, BLOCK)
    with pytest.raises(InvalidRequestError, match=r"no rule 'new' \(choices: old\)"):
        store.change(lambda steering: edited(steering, Edit(remove_rules=("new",))))
    assert store.load().newest == 1


def test_only_some_versions_are_kept_but_all_changes(tmp_path: Path) -> None:
    store = SteeringStore(str(tmp_path), keep=10)
    for number in range(13):
        put(store, Rule("old", "block", (f"i{number}",)))
    assert len(list((tmp_path / "versions").iterdir())) == 10
    assert [change.version for change in store.changes(100)] == list(range(13, 0, -1))
    assert [change.version for change in store.changes(2, before=4)] == [3, 2]


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\x00\xff", None], ids=str)
def test_a_damaged_version_is_passed_over_loudly(tmp_path: Path, content: bytes | None) -> None:
    store = SteeringStore(str(tmp_path))
    put(store, BLOCK)
    put(store, Rule("new", "block", ("i2",)))
    path = version_file(tmp_path, 2)
    path.write_bytes(path.read_bytes().replace(b'"i2"', b'"i3"') if content is None else content)
    with capture_logs() as logs:
        stored = store.load()
        store.load()
    assert [rule.name for rule in stored.steering.rules] == ["old"]
    assert (stored.steering.version, stored.newest) == (1, 2)
    assert "000000000002.json" in stored.fault
    assert [entry["event"] for entry in logs] == ["steering_damaged"]  # Once.


def test_a_change_after_a_damaged_version_is_made_from_the_one_before_and_says_so(tmp_path: Path) -> None:
    store = SteeringStore(str(tmp_path))
    put(store, BLOCK)
    put(store, Rule("new", "block", ("i2",)))
    version_file(tmp_path, 2).write_bytes(b"")
    assert put(store, Rule("third", "block", ("i3",))) == 3
    stored = store.load()
    assert [rule.name for rule in stored.steering.rules] == ["old", "third"]
    assert stored.fault == ""
    assert store.changes(1)[0].changes[-1] == "Version 2 was damaged and is left out; this was made from version 1."


def test_a_change_whose_note_was_not_written_is_listed(tmp_path: Path) -> None:
    store = SteeringStore(str(tmp_path))
    put(store, BLOCK)
    (tmp_path / "changes" / "000000000001.json").unlink()  # As if the process had died before it.
    assert [change.version for change in SteeringStore(str(tmp_path)).changes(10)] == [1]
    assert (tmp_path / "changes" / "000000000001.json").exists()


def test_a_change_that_cannot_be_read_stands_in_the_list(tmp_path: Path) -> None:
    store = SteeringStore(str(tmp_path))
    put(store, BLOCK)
    put(store, Rule("new", "block", ("i2",)))
    (tmp_path / "changes" / "000000000001.json").write_bytes(b"{")
    second, first = store.changes(10)
    assert second.actor == "me"
    assert first.changes[0].startswith("Unreadable: ")


def test_fewer_than_ten_versions_cannot_be_kept() -> None:
    with pytest.raises(SteeringError, match="wanted at least 10 versions, got 9"):
        SteeringStore("memory://few", keep=9)


def test_a_folder_that_was_emptied_goes_on_after_the_version_that_was_seen(tmp_path: Path) -> None:
    steering, _ = SteeringStore(str(tmp_path)).change(lambda _: ALL, seen=41)
    assert steering.version == 42


def test_the_store_is_beside_the_registry_or_where_settings_say() -> None:
    assert url_of(Settings(model=ModelSettings(url="s3://bucket/state/models/"))) == "s3://bucket/state/steering"
    assert url_of(Settings(steering=SteeringSettings(url="elsewhere"))) == "elsewhere"


def test_json_holds_all_of_a_steering() -> None:
    assert from_json(json.loads(json.dumps(to_json(ALL), sort_keys=True))) == ALL


def test_a_version_that_is_missing_is_told_loudly_and_its_number_is_not_used_again(tmp_path: Path) -> None:
    store = SteeringStore(str(tmp_path))
    put(store, BLOCK)
    put(store, Rule("new", "block", ("i2",)))
    version_file(tmp_path, 2).unlink()
    stored = store.load()
    assert (stored.steering.version, stored.newest) == (1, 2)
    assert stored.fault.endswith("000000000002.json: missing")
    assert put(store, Rule("third", "block", ("i3",))) == 3
    assert store.load().fault == ""


def test_a_version_without_its_seal_is_damaged(tmp_path: Path) -> None:
    store = SteeringStore(str(tmp_path))
    put(store, BLOCK)
    path = version_file(tmp_path, 1)
    path.write_bytes(path.read_bytes().replace(b"sha256", b"sha257"))
    assert "wanted a SHA-256, got none" in store.load().fault


def test_an_id_is_forgotten_in_every_version_and_in_the_list_of_changes(tmp_path: Path) -> None:
    store = SteeringStore(str(tmp_path))
    put(store, BLOCK, Rule("alone", "block", ("i1",)), reason="i1 was recalled")
    put(store, Rule("noted", "block", ("i9",), filter='brand != "i1"', note="as i1"))
    assert store.forget(Token("i1")) > 0
    for path in tmp_path.rglob("*.json"):
        assert not Token("i1").is_in_json(json.loads(path.read_bytes())), path
    stored = SteeringStore(str(tmp_path)).load()
    assert (stored.steering.version, stored.fault) == (3, "")
    noted, old = stored.steering.rules
    assert (old.name, old.items) == ("old", ("i2",))
    assert (noted.items, noted.filter, noted.note) == (("i9",), 'brand != "(forgotten)"', "as (forgotten)")
    assert store.changes(9)[-1].reason == "(forgotten) was recalled"
    assert store.forget(Token("i1")) == 0


PUT_MANY = """
import sys
from springtide.steering.editing import Edit, edited
from springtide.steering.store import SteeringStore
from springtide.steering.values import Rule, Steering

store, actor, number = SteeringStore(sys.argv[1]), sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
for each in range(number):
    edit = Edit(Steering((Rule(f"{actor}-{each}", "block", ("i1",)),)))
    store.change(lambda steering: edited(steering, edit), actor=actor)
    print(each, flush=True)
"""


def start(folder: Path, actor: str, number: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", PUT_MANY, str(folder), actor, str(number)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_several_processes_lose_no_change(tmp_path: Path) -> None:
    actors = ("a", "b", "c")
    processes = [start(tmp_path, actor, 12) for actor in actors]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.communicate("go\n", timeout=60)
        assert process.returncode == 0
    store = SteeringStore(str(tmp_path))
    assert {rule.name for rule in store.load().steering.rules} == {f"{a}-{n}" for a in actors for n in range(12)}
    changes = store.changes(100)
    assert [change.version for change in changes] == list(range(36, 0, -1))
    assert sorted(change.actor for change in changes) == sorted(actors * 12)


def test_a_process_that_is_killed_while_it_changes_loses_no_change_that_it_has_told(tmp_path: Path) -> None:
    told: list[str] = []
    for attempt in range(5):  # Each is killed at another place of its work.
        process = start(tmp_path, f"p{attempt}", 1_000)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("go\n")
        process.stdin.flush()
        told += [f"p{attempt}-{process.stdout.readline().strip()}" for _ in range(2 + attempt)]
        process.kill()
        told += [f"p{attempt}-{line}" for line in process.communicate()[0].split()]
    store = SteeringStore(str(tmp_path))
    stored = store.load()
    assert stored.fault == ""
    assert set(told) <= {rule.name for rule in stored.steering.rules}
    assert len(stored.steering.rules) - len(told) <= 5  # One each that was made and not told.
    assert [change.version for change in store.changes(10_000)] == list(range(stored.newest, 0, -1))
