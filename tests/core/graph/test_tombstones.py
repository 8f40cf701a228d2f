"""Tombstones: the latest deletion of each node by the digest of its id, in bounded memory."""

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from springtide.graph.tombstones import DIGEST_BYTES, NEVER_MS, Tombstones, TombstonesSnapshot

ids = st.lists(st.sampled_from([f"n{number}" for number in range(12)]), min_size=1, max_size=8, unique=True)
deletions = st.lists(st.tuples(st.sampled_from(["user", "item"]), ids, st.integers(-50, 50)), max_size=30)


@given(deletions)
def test_the_latest_deletion_of_each_node_counts(events):
    tombstones: Tombstones = Tombstones()
    wanted: dict[tuple[str, str], int] = {}
    for node_type, of_nodes, time_ms in events:
        times = [time_ms + number for number in range(len(of_nodes))]
        tombstones.add(node_type, of_nodes, times)
        for node_id, each_ms in zip(of_nodes, times, strict=True):
            wanted[node_type, node_id] = max(each_ms, wanted.get((node_type, node_id), each_ms))
    again = Tombstones()
    again.restore(tombstones.snapshot())
    for each in (tombstones, again):
        assert len(each) == len(wanted)
        for node_type in ("user", "item", "shop"):
            all_ids = [f"n{number}" for number in range(13)]
            found = each.deleted_ms(node_type, all_ids).tolist()
            assert found == [wanted.get((node_type, node_id), NEVER_MS) for node_id in all_ids]
            assert each.has_any(node_type) == any(of_type == node_type for of_type, _ in wanted)


def test_several_deletions_of_a_node_in_one_call_count_as_the_latest():
    tombstones = Tombstones()
    tombstones.add("user", ["ann", "bob", "ann", "ann"], [5, 6, 9, 7])
    assert tombstones.deleted_ms("user", ["ann", "bob"]).tolist() == [9, 6]
    assert len(tombstones) == 2


def test_snapshot_does_not_change_with_later_deletions():
    tombstones = Tombstones()
    tombstones.add("user", ["ann"], [5])
    (saved,) = tombstones.snapshot()
    tombstones.add("user", ["ann", "bob"], [6, 7])
    digest = hashlib.blake2b(b"ann", digest_size=DIGEST_BYTES).digest()
    assert (saved.node_type, saved.digests.tobytes(), saved.deleted_ms.tolist()) == ("user", digest, [5])


def test_checkpoint_of_an_older_release_is_read():
    digests = [hashlib.blake2b(id_.encode(), digest_size=DIGEST_BYTES).digest() for id_ in ("ann", "bob")]
    columns = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES), np.array([3, 4], np.int64)
    tombstones = Tombstones()
    tombstones.restore([TombstonesSnapshot("user", *columns), TombstonesSnapshot("item", columns[0][:0], columns[1])])
    assert tombstones.deleted_ms("user", ["bob", "cid", "ann"]).tolist() == [4, NEVER_MS, 3]
    assert not tombstones.has_any("item")
    tombstones.add("user", ["cid"], [1])  # Arrays of a file are read-only.
    tombstones.add("user", ["ann"], [8])
    assert tombstones.deleted_ms("user", ["ann", "cid"]).tolist() == [8, 1]


def test_a_tombstone_takes_few_bytes_and_what_expires_is_given_back():
    tombstones, day = Tombstones(keep_ms=1_000, max_count=20_000), 10
    sizes = []
    for generation in range(60):
        tombstones.add("user", [f"g{generation}-{n}" for n in range(1_000)], [generation * day] * 1_000)
        tombstones.expire(generation * day)
        sizes.append(tombstones.num_bytes)
    assert 20_000 <= len(tombstones) <= 22_500, "the bound, or an eighth more"
    found = tombstones.deleted_ms("user", [f"g{g}-{n}" for g in range(60) for n in range(1_000)])
    assert np.count_nonzero(found == NEVER_MS) == 60_000 - len(tombstones)
    assert found[-1_000:].tolist() == [59 * day] * 1_000
    assert tombstones.num_bytes <= 45 * len(tombstones)
    assert max(sizes) == max(sizes[:30]), "flat once the bound is reached"
    tombstones.expire(1_000_000)
    assert len(tombstones) == 0
    assert tombstones.num_bytes == 0
    assert not tombstones.has_any("user")
