"""Reading the Arrow files of checkpoints that earlier releases have written: edges, ids and attributes."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from springtide.checkpoint.files import in_64_bits
from springtide.graph.attribute_times import NO_TIME, TimesSnapshot
from springtide.graph.categories import CLEARED, CategorySnapshot
from springtide.graph.edges import EdgeArrays
from springtide.graph.late_attributes import AttributesSnapshot
from springtide.graph.row_entries import RowCodes, RowNumbers, RowTexts
from springtide.settings.model import AttributeKind

_TIME = "time"


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


def ids_from_arrow(content: bytes) -> list[str]:
    """Return ids in row order."""
    ids: list[str] = _from_arrow(content).column("id").to_pylist()
    return ids


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
            attributes.numbers[name] = in_64_bits(RowNumbers(None, column.to_numpy()))
        elif kind == "text":
            texts = {row: text for row, text in enumerate(column.to_pylist()) if text is not None}
            attributes.texts[name] = RowTexts.of(list(texts), texts.values())
        elif full_name != _TIME:
            own = _times_from_arrow(column)
            rows = np.flatnonzero(own != NO_TIME)
            times.own[name] = (rows.astype(np.int32), own[rows])
    return attributes


def _times_from_arrow(column: Any) -> npt.NDArray[np.int64]:
    times: npt.NDArray[np.int64] = column.fill_null(int(NO_TIME)).to_numpy()
    return times


def _category_from_arrow(column: Any, tells_cleared: bool) -> CategorySnapshot:
    offsets, values = column.offsets.to_numpy(), column.values
    codes = values.indices.to_numpy()
    counts = np.diff(offsets)
    first = np.full(len(counts), -1, np.int32)
    first[counts > 0] = codes[offsets[:-1][counts > 0]]
    if tells_cleared:
        first[(counts == 0) & column.is_valid().to_numpy(zero_copy_only=False)] = CLEARED
    more = {row: tuple(codes[offsets[row] : offsets[row + 1]].tolist()) for row in np.flatnonzero(counts > 1).tolist()}
    return CategorySnapshot(values.dictionary.to_pylist(), RowNumbers(None, first), RowCodes.of_dict(more))


def _from_arrow(content: bytes) -> Any:
    return pa.ipc.open_file(content).read_all()
