"""One node with thousands of attributes takes what it holds: in memory, and in a checkpoint."""

import numpy as np

from springtide.checkpoint import CheckpointStore, files
from springtide.events.model import NodeUpsert
from springtide.settings.model import Settings
from springtide.state import LiveState

NUM_USERS, NUM_NAMES = 100_000, 1_500


def wide_state() -> LiveState:
    state = LiveState(Settings(), {})
    state.graph.nodes("user").ids.intern([f"u{number}" for number in range(NUM_USERS)])
    state.graph.upsert(
        NodeUpsert(
            "user",
            f"u{NUM_USERS - 1}",
            {f"category {number}": ("x",) for number in range(NUM_NAMES)},
            {f"number {number}": 1.0 for number in range(NUM_NAMES)},
            {f"text {number}": "" for number in range(NUM_NAMES)},
            timestamp_ms=5,
        )
    )
    return state


def test_one_wide_node_among_many_takes_kilobytes_per_attribute(tmp_path):
    state = wide_state()
    arrays = files.attribute_arrays(state.graph.nodes("user").snapshot())
    times = arrays["times"].nbytes
    assert times == 8 * NUM_USERS
    assert sum(array.nbytes for array in arrays.values()) - times < 256 * 3 * NUM_NAMES
    store = CheckpointStore(str(tmp_path))
    store.write(state.snapshot())
    num_bytes = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert num_bytes < 8_000_000, "it was 1.8 GB"

    again = LiveState(Settings(), {})
    store.restore(store.latest(), again)
    table = again.graph.nodes("user")
    columns = [*table._columns.numbers.values(), *(column.codes[0] for column in table._columns.categories.values())]
    assert len(columns) == 2 * NUM_NAMES
    assert all(isinstance(column.entries, dict) for column in columns)
    row, wanted = NUM_USERS - 1, state.graph.nodes("user")
    assert len(table.category_values(row)) == NUM_NAMES
    assert table.category_values(row) == wanted.category_values(row)
    assert table.number_values(row) == wanted.number_values(row)
    assert table.text("text 7", row) == ""
    price = table.number("number 7")
    assert price is not None
    assert np.flatnonzero(~np.isnan(price)).tolist() == [row]
