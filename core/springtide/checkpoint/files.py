"""The content of a checkpoint's files: edges, ids and attributes as Arrow IPC, arrays as npz."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from springtide.graph.categories import CategorySnapshot
from springtide.graph.edges import EdgeView
from springtide.graph.lifetimes import LifetimesSnapshot
from springtide.graph.nodes import AttributeKind, AttributesSnapshot
from springtide.graph.tombstones import TombstonesSnapshot

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

    A category is a list of dictionary codes, so that restored codes are the same. The schema holds the kinds of all
    attributes, also of those without a value.
    """
    lengths = [len(category.first) for category in attributes.categories.values()]
    lengths += [len(column) for column in attributes.numbers.values()]
    lengths += [max(texts, default=-1) + 1 for texts in attributes.texts.values()]
    num_rows = max(lengths, default=0)
    columns: dict[str, Any] = {}
    for name, category in attributes.categories.items():
        columns[f"category:{name}"] = _category_to_arrow(category, num_rows)
    for name, column in attributes.numbers.items():
        missing = num_rows - len(column)
        columns[f"number:{name}"] = pa.array(np.pad(column, (0, missing), constant_values=np.nan))
    for name, texts in attributes.texts.items():
        columns[f"text:{name}"] = pa.array([texts.get(row) for row in range(num_rows)], pa.large_string())
    table = pa.table(columns)
    return _to_arrow(table.replace_schema_metadata({"kinds": json.dumps(attributes.kinds)}))


def attributes_from_arrow(content: bytes, mark: str) -> AttributesSnapshot:
    """Return a node type's attributes."""
    table = _from_arrow(content)
    kinds: dict[str, AttributeKind] = json.loads(table.schema.metadata[b"kinds"])
    attributes = AttributesSnapshot(mark, kinds, {}, {}, {})
    for full_name in table.column_names:
        kind, _, name = full_name.partition(":")
        column = table.column(full_name).combine_chunks()
        if kind == "category":
            attributes.categories[name] = _category_from_arrow(column)
        elif kind == "number":
            attributes.numbers[name] = column.to_numpy()
        else:
            texts = enumerate(column.to_pylist())
            attributes.texts[name] = {row: text for row, text in texts if text is not None}
    return attributes


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
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def _category_from_arrow(column: Any) -> CategorySnapshot:
    offsets, values = column.offsets.to_numpy(), column.values
    codes = values.indices.to_numpy()
    counts = np.diff(offsets)
    first = np.full(len(counts), -1, np.int32)
    first[counts > 0] = codes[offsets[:-1][counts > 0]]
    more = {row: tuple(codes[offsets[row] : offsets[row + 1]].tolist()) for row in np.flatnonzero(counts > 1).tolist()}
    return CategorySnapshot(values.dictionary.to_pylist(), first, more)


def _to_arrow(table: Any) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _from_arrow(content: bytes) -> Any:
    return pa.ipc.open_file(content).read_all()
