"""The content of a checkpoint's files: edges, ids and attributes as Arrow IPC, arrays as npz."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from springtide.events.seen_events import SeenEventsSnapshot
from springtide.graph.attribute_times import NO_TIME, TimesSnapshot
from springtide.graph.attributes import AttributesSnapshot
from springtide.graph.categories import CLEARED, CategorySnapshot
from springtide.graph.edges import EdgeView
from springtide.graph.lifetimes import LifetimesSnapshot
from springtide.graph.tombstones import TombstonesSnapshot
from springtide.settings.model import AttributeKind

_TIME = "time"

EdgeArrays = tuple[
    npt.NDArray[np.int32],
    npt.NDArray[np.int32],
    npt.NDArray[np.int64],
    npt.NDArray[np.float32],
    npt.NDArray[np.float32] | None,
]


def edges_to_arrow(edges: EdgeView, start: int, stop: int) -> bytes:
    """Return the file of the edges [start, stop), in order of arrival."""
    columns = {
        "source": pa.array(edges.source[start:stop]),
        "target": pa.array(edges.target[start:stop]),
        "timestamp_ms": pa.array(edges.timestamps_ms[start:stop]),
        "weight": pa.array(edges.weights[start:stop]),
    }
    if edges.features is not None:
        features = edges.features[start:stop]
        columns["features"] = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), features.shape[1])
    return _to_arrow(pa.table(columns))


def edges_from_arrow(content: bytes) -> EdgeArrays:
    """Return sources, targets, times, weights and features, the arguments of ``EdgeStore.append``."""
    table = _from_arrow(content)
    features = None
    if "features" in table.column_names:
        column = table.column("features").combine_chunks()
        features = column.flatten().to_numpy().reshape(len(column), column.type.list_size)  # [num_edges, width]
    source, target, times, weights = (
        table.column(name).to_numpy() for name in ("source", "target", "timestamp_ms", "weight")
    )
    return source, target, times, weights, features


def ids_to_arrow(ids: Sequence[str]) -> bytes:
    """Return the file of ids in row order."""
    return _to_arrow(pa.table({"id": pa.array(ids, pa.large_string())}))


def ids_from_arrow(content: bytes) -> list[str]:
    """Return ids in row order."""
    ids: list[str] = _from_arrow(content).column("id").to_pylist()
    return ids


def attributes_to_arrow(attributes: AttributesSnapshot) -> bytes:
    """Return the file of a node type's attributes: a row for each node, a column for each attribute.

    A category is a list of dictionary codes, so that restored codes are the same: null where a node never had one, and
    empty where it was cleared. ``time`` is when most attributes of a node were set, ``time:NAME`` when an attribute
    was, where that differs.
    """
    lengths = [len(category.first) for category in attributes.categories.values()]
    lengths += [len(column) for column in attributes.numbers.values()]
    lengths += [max(texts, default=-1) + 1 for texts in attributes.texts.values()]
    lengths.append(len(attributes.times.of_nodes))
    num_rows = max(lengths, default=0)
    columns: dict[str, Any] = {}
    for name, category in attributes.categories.items():
        columns[f"category:{name}"] = _category_to_arrow(category, num_rows)
    for name, column in attributes.numbers.items():
        missing = num_rows - len(column)
        columns[f"number:{name}"] = pa.array(np.pad(column, (0, missing), constant_values=np.nan))
    for name, texts in attributes.texts.items():
        columns[f"text:{name}"] = pa.array([texts.get(row) for row in range(num_rows)], pa.large_string())
    times = attributes.times.of_nodes
    columns[_TIME] = _times_to_arrow(np.arange(len(times)), times, num_rows)
    for name, (rows, times) in attributes.times.own.items():
        columns[f"{_TIME}:{name}"] = _times_to_arrow(rows, times, num_rows)
    table = pa.table(columns)
    return _to_arrow(table.replace_schema_metadata({"kinds": json.dumps(attributes.kinds)}))


def attributes_from_arrow(content: bytes, mark: str) -> AttributesSnapshot:
    """Return a node type's attributes; in a file without times, these are unknown, and nothing was cleared."""
    table = _from_arrow(content)
    has_times = _TIME in table.column_names
    kinds: dict[str, AttributeKind] = json.loads(table.schema.metadata[b"kinds"])
    times = TimesSnapshot.unknown()
    if has_times:
        times = TimesSnapshot(_times_from_arrow(table.column(_TIME)), {})
    attributes = AttributesSnapshot(mark, kinds, {}, {}, {}, times)
    for full_name in table.column_names:
        kind, _, name = full_name.partition(":")
        column = table.column(full_name).combine_chunks()
        if kind == "category":
            attributes.categories[name] = _category_from_arrow(column, has_times)
        elif kind == "number":
            attributes.numbers[name] = column.to_numpy()
        elif kind == "text":
            texts = enumerate(column.to_pylist())
            attributes.texts[name] = {row: text for row, text in texts if text is not None}
        elif full_name != _TIME:
            own = _times_from_arrow(column)
            rows = np.flatnonzero(own != NO_TIME)
            times.own[name] = (rows.astype(np.int32), own[rows])
    return attributes


def seen_events_to_npz(events: SeenEventsSnapshot, start: int, stop: int) -> bytes:
    """Return the file of the events with the numbers [start, stop)."""
    part = slice(start - events.first, stop - events.first)
    columns: dict[str, npt.NDArray[Any]] = {
        "keys": events.keys[part],
        "contents": events.contents[part],
        "published_s": events.published_s[part],
    }
    return arrays_to_npz(columns)


def seen_events_from_npz(contents: Sequence[bytes], lineage: str, start: int, first: int) -> SeenEventsSnapshot:
    """Return the events of some files, of which the first begins with the number ``start``, from ``first`` on."""
    parts = [arrays_from_npz(content) for content in contents]
    keys, hashes, published_s = (
        np.concatenate([part[name] for part in parts])[first - start :] for name in ("keys", "contents", "published_s")
    )
    return SeenEventsSnapshot(lineage, first, keys, hashes, published_s)


def arrays_to_npz(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return the file of named arrays.

    Raises:
        ValueError: If an array holds Python objects, which would need pickle.
    """
    sink = io.BytesIO()
    np.savez(sink, allow_pickle=False, **arrays)
    return sink.getvalue()


def arrays_from_npz(content: bytes) -> dict[str, npt.NDArray[Any]]:
    """Return named arrays."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return dict(arrays)


def lifetimes_to_npz(lifetimes: LifetimesSnapshot) -> bytes:
    """Return the file of the nodes' lifetimes."""
    return arrays_to_npz(
        {"newest_ms": lifetimes.newest_ms, "born_rows": lifetimes.born_rows, "born_ms": lifetimes.born_ms}
    )


def lifetimes_from_npz(content: bytes) -> LifetimesSnapshot:
    """Return the nodes' lifetimes."""
    return LifetimesSnapshot(**arrays_from_npz(content))


def tombstones_to_npz(tombstones: Sequence[TombstonesSnapshot]) -> bytes:
    """Return the file of the deletions that are remembered."""
    arrays: dict[str, npt.NDArray[Any]] = {"node_types": np.array([each.node_type for each in tombstones], np.str_)}
    for number, each in enumerate(tombstones):
        arrays |= {f"{number}/digests": each.digests, f"{number}/deleted_ms": each.deleted_ms}
    return arrays_to_npz(arrays)


def tombstones_from_npz(content: bytes) -> tuple[TombstonesSnapshot, ...]:
    """Return the deletions that are remembered."""
    arrays = arrays_from_npz(content)
    return tuple(
        TombstonesSnapshot(node_type, arrays[f"{number}/digests"], arrays[f"{number}/deleted_ms"])
        for number, node_type in enumerate(arrays["node_types"].tolist())
    )


def _times_to_arrow(rows: npt.NDArray[Any], times: npt.NDArray[np.int64], num_rows: int) -> Any:
    column = np.full(num_rows, NO_TIME, np.int64)
    column[rows] = times
    return pa.array(column, mask=column == NO_TIME)


def _times_from_arrow(column: Any) -> npt.NDArray[np.int64]:
    times: npt.NDArray[np.int64] = column.fill_null(int(NO_TIME)).to_numpy()
    return times


def _category_to_arrow(category: CategorySnapshot, num_rows: int) -> Any:
    counts = np.zeros(num_rows, np.int32)
    counts[: len(category.first)] = category.first >= 0
    for row, codes in category.more.items():
        counts[row] = len(codes)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    codes_of_all = np.empty(offsets[-1], np.int32)
    has_value = np.flatnonzero(category.first >= 0)
    codes_of_all[offsets[has_value]] = category.first[has_value]
    for row, codes in category.more.items():
        codes_of_all[offsets[row] : offsets[row + 1]] = codes
    values = pa.DictionaryArray.from_arrays(pa.array(codes_of_all), pa.array(category.vocabulary, pa.string()))
    is_none = counts == 0
    is_none[np.flatnonzero(category.first == CLEARED)] = False
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=pa.array(is_none))


def _category_from_arrow(column: Any, tells_cleared: bool) -> CategorySnapshot:
    offsets, values = column.offsets.to_numpy(), column.values
    codes = values.indices.to_numpy()
    counts = np.diff(offsets)
    first = np.full(len(counts), -1, np.int32)
    first[counts > 0] = codes[offsets[:-1][counts > 0]]
    if tells_cleared:
        first[(counts == 0) & column.is_valid().to_numpy(zero_copy_only=False)] = CLEARED
    more = {row: tuple(codes[offsets[row] : offsets[row + 1]].tolist()) for row in np.flatnonzero(counts > 1).tolist()}
    return CategorySnapshot(values.dictionary.to_pylist(), first, more)


def _to_arrow(table: Any) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _from_arrow(content: bytes) -> Any:
    return pa.ipc.open_file(content).read_all()
