"""From the columns of a file to interactions in time order."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from springtide.events.model import Interactions

_Number = TypeVar("_Number", bound=np.generic)


def interactions_of_columns(
    users: pa.ChunkedArray,
    items: pa.ChunkedArray,
    timestamps_ms: npt.NDArray[np.int64],
    values: pa.ChunkedArray | None,
    relations: pa.ChunkedArray | str,
) -> Interactions:
    """Return interactions in time order; rows of the same time keep the order of the file.

    Args:
        users: User ids, of any type that can be written as text; without nulls.
        items: Item ids, likewise.
        timestamps_ms: int64 ``[n]``.
        values: Numbers; null, or None for the whole column, where the event has no value.
        relations: Type of each interaction, without nulls, or one type for all.
    """
    # Rows that are in order already are not moved: that saves half the time of a large file.
    order = None if np.all(timestamps_ms[1:] >= timestamps_ms[:-1]) else np.argsort(timestamps_ms, kind="stable")
    user_ids, user_codes = _coded(users, order)
    item_ids, item_codes = _coded(items, order)
    if isinstance(relations, str):
        names, relation_codes = [relations], np.zeros(len(timestamps_ms), np.int16)
    else:
        names, codes = _coded(relations, order)
        relation_codes = codes.astype(np.int16)
    if values is None:
        in_order = np.full(len(timestamps_ms), np.nan, np.float32)
    else:
        in_order = _ordered(values.cast(pa.float32(), safe=False).fill_null(float("nan")).to_numpy(), order)
    return Interactions(
        user_ids=user_ids,
        user_codes=user_codes,
        item_ids=item_ids,
        item_codes=item_codes,
        relations=tuple(names),
        relation_codes=relation_codes,
        timestamps_ms=_ordered(timestamps_ms.astype(np.int64, copy=False), order),
        values=in_order,
    )


def _coded(ids: pa.ChunkedArray, order: npt.NDArray[np.int64] | None) -> tuple[list[str], npt.NDArray[np.int32]]:
    """Return the distinct ids in the order of their first event, and the code of each row's id, int32 ``[n]``."""
    encoded = pa.chunked_array(ids.chunks or [pa.array([], ids.type)]).dictionary_encode().unify_dictionaries()
    names = [str(value) for value in encoded.chunk(0).dictionary.to_pylist()]
    codes = np.concatenate([chunk.indices.to_numpy() for chunk in encoded.chunks]).astype(np.int32, copy=False)
    if order is None:
        return names, codes
    codes = codes[order]
    first = np.empty(len(names), np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]  # Each id's earliest row is written last, and stays.
    by_appearance = np.argsort(first)
    position = np.empty(len(names), np.int32)
    position[by_appearance] = np.arange(len(names), dtype=np.int32)
    return [names[code] for code in by_appearance], position[codes]


def _ordered(column: npt.NDArray[_Number], order: npt.NDArray[np.int64] | None) -> npt.NDArray[_Number]:
    return column if order is None else column[order]
