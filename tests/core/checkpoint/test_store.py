import dataclasses
import threading
import tracemalloc
import uuid
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from springtide.checkpoint import CheckpointStore
from springtide.checkpoint.array_files import arrays_from_bytes, arrays_to_bytes, crc32c_of_arrays
from springtide.checkpoint.manifest import file_entries
from springtide.checkpoint.manifest_files import to_bytes
from springtide.errors import CheckpointError, DamagedCheckpointError
from springtide.events.marks import BatchMarks, EventMarks
from springtide.events.model import EventBatch, Interactions, NodeDelete, NodeUpsert, Relation
from springtide.graph.late_ids import LateIds
from springtide.graph.tombstones import NEVER_MS
from springtide.plugins.contracts import ContextWeight, Observed
from springtide.settings.model import Settings
from springtide.state import LiveState, StreamPosition

PURCHASE = ("user", "purchase", "item")


class Counting(ContextWeight):
    """Counts how often each item was taken."""

    context_keys = ("place", "weather")

    def __init__(self) -> None:
        self.counts = np.zeros(100, np.int64)

    def observe(self, observed: Observed) -> None:
        np.add.at(self.counts, observed.item_rows, 1)

    def state(self):
        return {"counts": self.counts.copy()}

    def restore(self, state) -> None:
        self.counts = state["counts"].copy()


def interactions(users, items, times, values=None, relation="purchase") -> Interactions:
    user_ids, user_codes = np.unique(users, return_inverse=True)
    item_ids, item_codes = np.unique(items, return_inverse=True)
    count = len(users)
    return Interactions(
        *(user_ids.tolist(), user_codes.astype(np.int32), item_ids.tolist(), item_codes.astype(np.int32)),
        *([relation], np.zeros(count, np.int16), np.array(times, np.int64)),
        np.full(count, np.nan, np.float32) if values is None else np.array(values, np.float32),
    )


def purchases(count: int, start: int = 0) -> Interactions:
    numbers = np.arange(start, start + count)
    return interactions([f"u{n % 7}" for n in numbers], [f"i{n % 5}" for n in numbers], 1_000 + numbers)


def new_state() -> LiveState:
    return LiveState(Settings(), {"counting": Counting()})


def filled_state() -> LiveState:
    state = new_state()
    state.position = StreamPosition("springtide.events", "abc", {0: 5, 1: 7})
    upserts = [
        NodeUpsert(
            "item", "i0", {"department": ("GROCERY", "DELI"), "brand": ("own",)}, {"price": 1.5}, {"name": "eau"}
        ),
        NodeUpsert("item", "i9", {"department": ("DELI",)}),
        NodeUpsert("user", "u1", {"segment": ()}, {"age": 40.0}),
    ]
    state.apply(EventBatch(purchases(50), upserts, [Relation("item", "i0", "sold_in", "store", "s", 5, 2.0)]))
    state.apply(EventBatch(interactions(["u1", "u8"], ["i1", "i2"], [9, 10], [3.0, np.nan], "rating")))
    return state


def content(state: LiveState) -> dict:
    """Everything that a restored state must share with the one that was written."""
    view = state.graph.view()
    tables = {name: state.graph.nodes(name) for name in state.graph.node_types}
    neighbours = [
        view.edges(PURCHASE).recent_targets(np.arange(7), 20, before).rows.tolist() for before in (None, 1_030)
    ]
    return {
        "ids": {name: table.ids.all_ids() for name, table in tables.items()},
        "categories": {
            (name, key): (
                column.vocabulary.all_ids(),
                column.first_codes().tolist(),
                sorted(zip(*column.pairs(), strict=True)),
            )
            for name, table in tables.items()
            for key, column in table.categories.items()
        },
        "numbers": {
            (name, key): str(column.tolist()) for name, table in tables.items() for key, column in table.numbers.items()
        },
        "texts": {name: [table.text("name", row) for row in range(len(table))] for name, table in tables.items()},
        "kinds": {name: table.kinds for name, table in tables.items()},
        "edges": {
            edge_type: [
                str(column if column is None else column.tolist())
                for column in (edges.source, edges.target, edges.timestamps_ms, edges.weights, edges.features)
            ]
            for edge_type, edges in ((edge_type, view.edges(edge_type)) for edge_type in view.edge_types)
        },
        "neighbours": neighbours,
        "counters": (view.version, view.newest_ms, state.position, state.num_events, state.graph.num_forgotten),
        "counts": state.context_weights["counting"].counts.tolist(),
    }


def restored(store: CheckpointStore, name: str | None = None) -> LiveState:
    checkpoint = store.latest() if name is None else store.open(name)
    assert checkpoint is not None
    state = new_state()
    store.restore(checkpoint, state)
    return state


@pytest.fixture(params=["folder", "memory", "s3"])
def url(request, tmp_path):
    if request.param == "s3":
        return f"{request.getfixturevalue('s3_bucket')}/checkpoints"
    return str(tmp_path / "checkpoints") if request.param == "folder" else f"memory://checkpoints-{uuid.uuid4().hex}"


def test_restored_state_is_the_written_one(url):
    state, store = filled_state(), CheckpointStore(url)
    assert store.latest() is None
    checkpoint = store.write(state.snapshot(), now_ms=123)
    assert checkpoint == store.latest()
    assert (checkpoint.name, checkpoint.created_ms, checkpoint.num_events, checkpoint.num_edges) == (
        "00000001",
        123,
        52,
        53,
    )
    assert checkpoint.position == StreamPosition("springtide.events", "abc", {0: 5, 1: 7})
    assert content(restored(CheckpointStore(url))) == content(state)


def test_restored_state_goes_on_like_the_written_one(url):
    state, store = filled_state(), CheckpointStore(url)
    store.write(state.snapshot())
    again = restored(store)
    for each in (state, again):
        each.apply(EventBatch(purchases(20, start=30), [NodeUpsert("item", "i9", {"department": ("NEW",)})]))
        each.advance({1: 9})
    assert again.position == StreamPosition("springtide.events", "abc", {0: 5, 1: 9})
    assert content(again) == content(state)
    store.write(again.snapshot())
    assert content(restored(store)) == content(state)


def test_empty_state_is_written_and_restored(url):
    store = CheckpointStore(url)
    store.write(new_state().snapshot())
    assert restored(store).graph.num_edges == 0


def test_new_edges_are_written_alone(tmp_path):
    state, store = new_state(), CheckpointStore(str(tmp_path), keep=1)
    state.apply(EventBatch(purchases(100_000)))
    store.write(state.snapshot())
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "segments").iterdir()}
    state.apply(EventBatch(purchases(1_000)))
    store.write(state.snapshot())
    written = [path for path in (tmp_path / "segments").iterdir() if path.name not in before]
    kept = [path for path in (tmp_path / "segments").iterdir() if path.name in before]
    assert sum(path.stat().st_size for path in written) < 30_000
    assert all(path.stat().st_mtime_ns == before[path.name] for path in kept)
    assert sum(path.stat().st_size for path in kept) > 1_500_000
    assert content(restored(store)) == content(state)


def test_many_small_checkpoints_leave_few_segments(tmp_path):
    state, store = new_state(), CheckpointStore(str(tmp_path), keep=1)
    for start in range(20):
        state.apply(EventBatch(purchases(10, start=start * 10)))
        store.write(state.snapshot())
    assert len(list((tmp_path / "segments").glob("*edges*"))) <= 6
    assert content(restored(store)) == content(state)


def test_keep_prunes_the_oldest_and_their_segments(tmp_path):
    state, store = new_state(), CheckpointStore(str(tmp_path), keep=2)
    for start in range(4):
        state.apply(EventBatch(purchases(10, start=start * 10)))
        store.write(state.snapshot())
    assert store.names() == ["00000004", "00000003"]
    assert restored(store, "00000003").num_events == 30
    assert restored(store).num_events == 40


def test_forgotten_user_leaves_no_trace_on_disk(tmp_path):
    state, store = new_state(), CheckpointStore(str(tmp_path), keep=3)
    secret = NodeUpsert("user", "secret-id", {"segment": ("secret-segment",)}, {}, {"name": "secret-name"})
    state.apply(EventBatch(interactions(["secret-id", "u1"], ["i1", "i1"], [1, 2]), [secret]))
    store.write(state.snapshot())
    assert any(b"secret" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    state.apply(EventBatch(purchases(1), deletes=[NodeDelete("user", "secret-id", 3)]))
    store.write(state.snapshot())
    assert store.names() == ["00000002"]
    assert not any(b"secret" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    again = restored(store)
    assert content(again) == content(state)
    assert again.graph.view().edges(PURCHASE).source.tolist() == [1, 2]
    assert again.graph.nodes("user").ids.intern(["secret-id"]).tolist() == [3]


def test_crash_before_the_manifest_leaves_the_former_checkpoint(tmp_path):
    state, store = filled_state(), CheckpointStore(str(tmp_path))
    store.write(state.snapshot())
    whole = content(state)
    (tmp_path / "segments" / "00000002-edges0-0.arrays").write_bytes(b"half")
    (tmp_path / "segments" / ".writing-00000002-edges1-0.arrays-123").write_bytes(b"half")
    (tmp_path / "manifests" / ".writing-00000002.json-123").write_bytes(b"{")
    assert content(restored(CheckpointStore(str(tmp_path)))) == whole
    state.apply(EventBatch(purchases(3, start=60)))
    checkpoint = store.write(state.snapshot())
    assert content(restored(CheckpointStore(str(tmp_path)))) == content(state)
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    named = {piece.name for piece in (tmp_path / "segments").iterdir()} | {f"{name}.json" for name in store.names()}
    assert checkpoint.name == "00000002"
    assert left == named
    assert not any(name.startswith(".writing") for name in left)


def test_flipped_byte_anywhere_is_found_and_named(tmp_path):
    store = CheckpointStore(str(tmp_path))
    store.write(filled_state().snapshot())
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        whole = path.read_bytes()
        damaged = bytearray(whole)
        damaged[len(damaged) // 2] ^= 1
        path.write_bytes(bytes(damaged))
        with pytest.raises(CheckpointError, match=rf"{path.name}: damaged"):
            restored(store, "00000001")
        path.write_bytes(whole)
    restored(store)


@pytest.mark.parametrize("kind", ["edges", "ids", "attributes", "lifetimes", "weight", "tombstones"])
def test_any_damage_to_a_file_is_found(tmp_path, kind):
    """Wherever it is: in the arrays, in what says how they lie, or in the directory at the end."""
    store, state = CheckpointStore(str(tmp_path)), filled_state()
    state.apply(delete(("user", "u1", 1_020)))
    store.write(state.snapshot())
    path = next((tmp_path / "segments").glob(f"*{kind}*"))
    whole = path.read_bytes()
    flipped = [bytes([*whole[:at], whole[at] ^ 1 << at % 8, *whole[at + 1 :]]) for at in range(0, len(whole), 7)]
    torn = [whole[: len(whole) - missing] for missing in (1, 22, 100, len(whole))]
    for content in (*flipped, *torn, whole + b"x", bytes(len(whole)), whole * 2):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=rf"{path.name}: damaged: wanted CRC-32C"):
            restored(store)
    path.write_bytes(whole)
    restored(store)


def test_missing_file_is_named(tmp_path):
    store = CheckpointStore(str(tmp_path))
    store.write(filled_state().snapshot())
    path = next((tmp_path / "segments").glob("*edges*"))
    path.unlink()
    with pytest.raises(CheckpointError, match=rf"{path.name}: .*missing"):
        restored(store)


def test_checkpoint_of_a_damaged_manifest_is_not_the_latest(tmp_path):
    state, store = new_state(), CheckpointStore(str(tmp_path))
    for start in range(2):
        state.apply(EventBatch(purchases(10, start=start * 10)))
        store.write(state.snapshot())
    (tmp_path / "manifests" / "00000002.json").write_text("{")
    with pytest.raises(DamagedCheckpointError, match=r"00000002\.json: damaged"):
        store.open("00000002")
    assert store.latest() == store.open("00000001")
    with pytest.raises(CheckpointError, match=r"no checkpoint '7' \(choices: 00000002, 00000001\)"):
        store.open("7")


def test_state_from_an_older_checkpoint_builds_on_nothing_newer(tmp_path):
    state, store = filled_state(), CheckpointStore(str(tmp_path))
    store.write(state.snapshot())
    state.apply(EventBatch(purchases(30, start=100), [NodeUpsert("item", "i9", {"department": ("LOST",)})]))
    store.write(state.snapshot())
    older = restored(store, "00000001")
    more = interactions([f"v{n}" for n in range(40)], ["i3"] * 40, np.arange(40))
    older.apply(EventBatch(more, [NodeUpsert("item", "i9", {"department": ("OTHER",)})]))
    store.write(older.snapshot())
    assert content(restored(store)) == content(older)


def test_copy_of_an_older_checkpoint_is_the_newest_and_is_built_upon(url):
    state, store = filled_state(), CheckpointStore(url)
    store.write(state.snapshot(), now_ms=123)
    whole = content(state)
    state.apply(EventBatch(purchases(30, start=100), [NodeUpsert("item", "i9", {"department": ("LOST",)})]))
    store.write(state.snapshot())
    files_before = store.file_sizes()

    copy = store.copy_as_newest("00000001")

    assert copy == store.latest()
    assert (copy.name, copy.created_ms, copy.num_events) == ("00000003", 123, 52)
    assert store.names() == ["00000003", "00000002", "00000001"]
    assert store.file_sizes() == files_before
    again = restored(store)
    assert content(again) == whole
    again.apply(EventBatch(purchases(5, start=400), [NodeUpsert("item", "i9", {"department": ("OTHER",)})]))
    store.write(again.snapshot())
    assert content(restored(store)) == content(again)
    assert content(restored(store, "00000002")) == content(state)


def test_copy_of_the_newest_checkpoint_is_itself(url):
    store = CheckpointStore(url)
    checkpoint = store.write(filled_state().snapshot())
    assert store.copy_as_newest(checkpoint.name) == checkpoint
    assert store.names() == ["00000001"]


def test_restoring_into_a_used_state_is_refused(tmp_path):
    state, store = filled_state(), CheckpointStore(str(tmp_path))
    with pytest.raises(CheckpointError, match="wanted an empty state"):
        store.restore(store.write(state.snapshot()), state)


def test_weight_that_the_checkpoint_does_not_know_learns_from_the_graph(tmp_path):
    store = CheckpointStore(str(tmp_path))
    store.write(filled_state().snapshot())
    state = LiveState(Settings(), {"another": Counting()})
    checkpoint = store.latest()
    assert checkpoint is not None
    store.restore(checkpoint, state)
    assert state.context_weights["another"].counts.sum() == 50


def test_circumstances_come_back_under_their_keys_whatever_is_asked_for_then(tmp_path):
    contexts = [{"place": "p", "weather": "rain"}, {"weather": "sun"}, {}]
    state = new_state()
    state.apply(EventBatch(dataclasses.replace(purchases(3), contexts=contexts)))
    store = CheckpointStore(str(tmp_path))
    store.write(state.snapshot())

    class Other(Counting):
        context_keys = ("weather", "day")

    later = LiveState(Settings(), {"counting": Other()})
    store.restore(store.latest(), later)
    later.apply(EventBatch(dataclasses.replace(purchases(2, 3), contexts=[{"day": "off", "weather": "sun"}, {}])))
    known = later.positive_interactions(later.graph.view()).circumstances
    words = {key: [of.values[code] if code >= 0 else "" for code in of.codes] for key, of in known.items()}
    assert words == {
        "place": ["p", "", "", "", ""],
        "weather": ["rain", "sun", "", "sun", ""],
        "day": ["", "", "", "off", ""],
    }


def test_bounds_hold_once_a_checkpoint_is_restored(tmp_path):
    store = CheckpointStore(str(tmp_path))
    store.write(filled_state().snapshot())
    state = LiveState(Settings.model_validate({"graph": {"max_edges": 10}}), {})
    checkpoint = store.latest()
    assert checkpoint is not None
    assert store.restore(checkpoint, state) == ("43 edges dropped that are beyond the bounds of [graph]",)
    assert state.graph.num_edges == 10
    state.apply(EventBatch(purchases(1)))
    assert state.graph.num_edges == 11


def test_snapshot_is_written_while_the_stream_goes_on(tmp_path):
    state, store = filled_state(), CheckpointStore(str(tmp_path))
    expected, snapshot = content(state), state.snapshot()
    writer = threading.Thread(target=store.write, args=(snapshot,))
    writer.start()
    state.apply(
        EventBatch(purchases(2_000, start=7), [NodeUpsert("item", "i0", {"brand": ("other",)}, {"price": 9.0})])
    )
    state.apply(EventBatch(purchases(1), deletes=[NodeDelete("user", "u1", 5)]))
    writer.join()
    assert content(restored(store)) == expected


def test_failing_disk_is_a_checkpoint_error(tmp_path):
    (tmp_path / "segments").write_text("no folder")
    with pytest.raises(CheckpointError, match="cannot be written"):
        CheckpointStore(str(tmp_path)).write(filled_state().snapshot())
    with pytest.raises(CheckpointError, match="cannot be listed"):
        CheckpointStore(str(tmp_path / "segments")).latest()


def delete(*nodes: tuple[str, str, int]) -> EventBatch:
    return EventBatch(purchases(0), deletes=[NodeDelete(*node) for node in nodes])


def test_deletions_hold_after_a_restart(url):
    state, store = filled_state(), CheckpointStore(url)
    state.apply(delete(("item", "i0", 1_020), ("user", "u99", 2_000), ("user", "u8", 5)))
    assert state.graph.nodes("item").lifetimes.born_ms(0) == 1_020
    assert state.graph.nodes("user").lifetimes.born_ms(state.graph.nodes("user").ids.row("u8")) == 5
    store.write(state.snapshot())
    again = restored(store)
    assert content(again) == content(state)
    for each in (state, again):
        each.apply(
            EventBatch(interactions(["u1", "u99", "u99", "u1"], ["i0", "i1", "i1", "i0"], [1_020, 2_000, 2_001, 1_021]))
        )
        users, items = each.graph.nodes("user"), each.graph.nodes("item")
        assert items.lifetimes.born_ms(items.ids.row("i0")) == 1_020
        assert users.lifetimes.born_ms(users.ids.row("u99")) == 2_000
        assert each.graph.num_dropped == 2
    assert content(again) == content(state)


def test_a_node_keeps_the_time_of_its_birth_when_its_tombstone_is_gone(url):
    state, store = filled_state(), CheckpointStore(url)
    state.apply(delete(("item", "i0", 1_020)))
    state.graph.tombstones.restore(())
    store.write(state.snapshot())
    items = restored(store).graph.nodes("item")
    assert items.lifetimes.born_ms(items.ids.row("i0")) == 1_020


def test_no_file_of_a_checkpoint_holds_a_deleted_id(tmp_path):
    state, store = filled_state(), CheckpointStore(str(tmp_path))
    state.apply(EventBatch(interactions(["very-secret"], ["i1"], [2_000])))
    store.write(state.snapshot())
    state.apply(delete(("user", "very-secret", 2_000)))
    store.write(state.snapshot())
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not any(b"very-secret" in file for file in files)


def test_checkpoint_from_before_deletions_were_kept_is_restored(url):
    state, store = filled_state(), CheckpointStore(url)
    checkpoint = store.write(state.snapshot())
    manifest = {**checkpoint.manifest}
    del manifest["tombstones"]
    manifest["nodes"] = [{key: saved[key] for key in saved if key != "lifetimes"} for saved in manifest["nodes"]]
    again = new_state()
    store.restore(dataclasses.replace(checkpoint, manifest=manifest), again)
    assert content(again) == content(state)
    again.apply(delete(("user", "u1", 1_020)))  # When users were heard of comes from their edges.
    assert again.graph.nodes("user").ids.row("u1") >= 0
    again.apply(delete(("user", "u1", 1_050)))
    assert again.graph.nodes("user").ids.row("u1") == -1


def with_ids(start: int, stop: int) -> EventBatch:
    numbers = np.arange(start, stop)
    hashes = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(1)
    marks = EventMarks(np.arange(len(numbers)), hashes, numbers.astype(np.uint32), numbers.astype(np.uint32))
    return EventBatch(purchases(stop - start, start), marks=BatchMarks(marks))


def state_with_window(max_events: int) -> LiveState:
    settings = Settings.model_validate({"events": {"duplicates_max_events": max_events}})
    return LiveState(settings, {"counting": Counting()})


def test_events_that_came_before_a_restart_do_not_count_again(url):
    state, store = filled_state(), CheckpointStore(url)
    state.apply(with_ids(0, 100))
    state.apply(with_ids(90, 95))
    store.write(state.snapshot())
    again = restored(store)
    num_events = again.num_events
    for each in (state, again):
        each.apply(with_ids(50, 120))
        assert each.num_events == num_events + 20
        assert (each.seen_events.num_duplicates, each.seen_events.num_changed) == (55, 0)
    assert content(again) == content(state)


def test_only_new_event_ids_are_written(tmp_path):
    state, store = state_with_window(1_000), CheckpointStore(str(tmp_path), keep=1)
    state.apply(with_ids(0, 900))
    first = store.write(state.snapshot()).manifest["seen_events"]
    for stop in range(920, 3_000, 20):
        state.apply(with_ids(stop - 20, stop))
        saved = store.write(state.snapshot()).manifest["seen_events"]
        if stop == 920:  # What was written stays.
            assert saved["segments"][:1] == first["segments"]
        assert saved["first"] == max(0, stop - 1_000)
        assert len(saved["segments"]) <= 12
        assert saved["segments"][0]["start"] <= saved["first"] < saved["segments"][0]["stop"]
        if stop % 200 == 0:
            again = state_with_window(1_000)
            store.restore(store.latest(), again)
            for column in ("keys", "contents", "published_s"):
                wanted, got = (getattr(each.seen_events.snapshot(), column) for each in (state, again))
                np.testing.assert_array_equal(got, wanted)
            if stop % 400 == 0:
                state = again  # A restarted server goes on with the same files.
    assert {path.name for path in (tmp_path / "segments").iterdir() if "seen" in path.name} == {
        entry["file"] for entry in saved["segments"]
    }


def test_older_checkpoint_starts_another_history_of_event_ids(tmp_path):
    state, store = state_with_window(1_000), CheckpointStore(str(tmp_path))
    state.apply(with_ids(0, 10))
    older = store.write(state.snapshot())
    state.apply(with_ids(10, 20))
    store.write(state.snapshot())
    again = state_with_window(1_000)
    store.restore(older, again)
    again.apply(with_ids(15, 40))
    store.write(again.snapshot())
    last = state_with_window(1_000)
    store.restore(store.latest(), last)
    np.testing.assert_array_equal(last.seen_events.snapshot().keys, again.seen_events.snapshot().keys)
    assert again.num_events == 35


def test_checkpoint_from_before_event_ids_were_kept_is_restored(url):
    state, store = filled_state(), CheckpointStore(url)
    checkpoint = store.write(state.snapshot())
    manifest = {key: value for key, value in checkpoint.manifest.items() if key != "seen_events"}
    again = new_state()
    store.restore(dataclasses.replace(checkpoint, manifest=manifest), again)
    assert content(again) == content(state)
    again.apply(with_ids(0, 10))
    again.apply(with_ids(0, 10))
    assert again.seen_events.num_duplicates == 10


def test_checkpoints_after_a_deletion_share_segments_though_dead_edges_are_swept_between(tmp_path):
    state, store = new_state(), CheckpointStore(str(tmp_path), keep=5)
    state.apply(EventBatch(purchases(1_000)))
    state.apply(delete(("user", "u3", 1_100)))
    assert state.graph.store(PURCHASE).num_dead > 0
    store.write(state.snapshot())
    before = {path.name for path in (tmp_path / "segments").glob("*edges*")}
    state.graph.store(PURCHASE).sweep()
    state.apply(EventBatch(purchases(10, 2_000)))
    store.write(state.snapshot())
    after = {path.name for path in (tmp_path / "segments").glob("*edges*")}
    assert before < after, "the live edges of the first one are a prefix of those of the second one"
    again = restored(store)
    assert content(again) == content(state)
    assert not (
        again.graph.view().edges(PURCHASE).timestamps_ms[again.graph.view().edges(PURCHASE).source == 3] <= 1_100
    ).any()


def test_nodes_that_are_forgotten_while_a_checkpoint_waits_are_in_it(tmp_path):
    """Their ids are copied when they are written, as they were when the snapshot was taken."""
    state, store = filled_state(), CheckpointStore(str(tmp_path))
    wanted, snapshot = content(state), state.snapshot()
    state.apply(delete(("user", "u1", 5_000), ("item", "i0", 5_000)))
    state.reclaim_restored()  # Their rows go to the next nodes.
    state.apply(EventBatch(interactions(["another", "one"], ["more", "i1"], [6_000, 6_001])))
    store.write(snapshot)
    assert content(restored(store)) == wanted
    store.write(state.snapshot())
    assert content(restored(store)) == content(state)


def test_only_new_ids_are_copied_for_a_checkpoint(tmp_path, monkeypatch):
    state, store = filled_state(), CheckpointStore(str(tmp_path))
    state.apply(EventBatch(interactions([f"v{n}" for n in range(100)], ["i1"] * 100, range(6_000, 6_100))))
    store.write(state.snapshot())
    state.apply(EventBatch(interactions(["late"], ["i1"], [7_000])))
    copied, packed = [], LateIds.packed

    def counted(self, *part):
        copied.append(part)
        return packed(self, *part)

    monkeypatch.setattr(LateIds, "packed", counted)
    store.write(state.snapshot())
    assert copied == [(108, 109)]  # The one user that is new.


def test_a_snapshot_copies_no_column_on_the_thread_that_applies_events(tmp_path):
    """What it allocates does not grow with the nodes, edges, attributes and deletions: those are copied later."""
    state = filled_state()
    table = state.graph.nodes("item")
    for number in range(3_000):
        state.graph.upsert(
            NodeUpsert("item", f"many-{number}", {"tag": ("a", "b")}, {"price": 1.0}, {"title": f"no {number}"}, 5)
        )
    state.graph.tombstones.add("item", [f"gone-{number}" for number in range(3_000)], [7] * 3_000)
    with ThreadPoolExecutor(1) as copier:
        tracemalloc.start()
        snapshot = state.snapshot(copier)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 20_000, f"{len(table)} items took {peak:,} bytes"
        for number in range(500):
            state.graph.upsert(NodeUpsert("item", f"many-{number}", numbers={"price": 2.0}, timestamp_ms=6))
        state.graph.tombstones.add("item", ["gone-3", "other"], [9, 9])
        CheckpointStore(str(tmp_path)).write(snapshot)
    again = restored(CheckpointStore(str(tmp_path)))
    assert again.graph.nodes("item").number_values(table.ids.row("many-3")) == {"price": 1.0}
    assert again.graph.tombstones.deleted_ms("item", ["gone-3", "other"]).tolist() == [7, NEVER_MS]


def test_manifest_tells_the_size_of_each_file(tmp_path):
    written = CheckpointStore(str(tmp_path)).write(filled_state().snapshot())
    sizes = {entry["file"]: entry["file_bytes"] for entry in file_entries(written.manifest)}
    assert sizes == {path.name: path.stat().st_size for path in (tmp_path / "segments").iterdir()}


def test_edges_of_nodes_that_the_checkpoint_lacks_are_damage_of_their_file(tmp_path):
    """What has the right checksum may be wrong as well: a kernel would else write where there is no chain."""
    store = CheckpointStore(str(tmp_path))
    manifest = store.write(filled_state().snapshot()).manifest
    entry = next(each for edges in manifest["edges"] for each in edges["segments"])
    path = tmp_path / "segments" / entry["file"]
    arrays = arrays_from_bytes(path.read_bytes())
    arrays["source"][0] = 10_000
    path.write_bytes(arrays_to_bytes(arrays))
    entry["crc32c"] = crc32c_of_arrays(arrays)
    (tmp_path / "manifests" / f"{manifest['name']}.json").write_bytes(to_bytes(manifest))
    with pytest.raises(DamagedCheckpointError, match="wanted rows in 0 to") as caught:
        restored(CheckpointStore(str(tmp_path)))
    assert caught.value.file == entry["file"]
