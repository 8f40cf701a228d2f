"""What is in each kind of a checkpoint's files, as named arrays; ``array_files`` writes and reads these."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.checkpoint.array_files import Arrays
from springtide.events.seen_events import LateSeenEvents, SeenEventsSnapshot
from springtide.graph.attribute_times import TimesSnapshot
from springtide.graph.categories import CategorySnapshot
from springtide.graph.edges import EdgeView
from springtide.graph.late_attributes import AttributesSnapshot
from springtide.graph.late_ids import LateIds
from springtide.graph.lifetimes import LifetimesSnapshot
from springtide.graph.row_entries import RowCodes, RowNumbers, RowTexts, RowVectors
from springtide.graph.tombstones import TombstonesSnapshot
from springtide.packed_texts import PackedTexts, Texts, pack

_LEAST_DECIMAL = 1e-9  # Of smaller numbers, powers of ten that make them whole are not exact.

ARROW = ".arrow"  # How the names of files of earlier releases end.


def edge_arrays(edges: EdgeView, start: int, stop: int) -> Arrays:
    """Return the arrays of the edges [start, stop), in order of arrival; of one weight that all have, one entry."""
    source, target, timestamps_ms, weights, features = edges.part(start, stop)
    weights = weights[:1] if weights.strides == (0,) else weights
    columns: dict[str, npt.NDArray[Any]] = {
        "source": source,
        "target": target,
        "timestamp_ms": timestamps_ms,
        "weight": weights,
    }
    return columns if features is None else columns | {"features": features}


def id_arrays(ids: LateIds, start: int, stop: int) -> Arrays:
    """Return the arrays of the ids of the rows [start, stop)."""
    return ids.packed(start, stop)._asdict()


def attribute_arrays(attributes: AttributesSnapshot) -> Arrays:
    """Return the arrays of a node type's attributes.

    ``header`` is JSON: the kinds, and the names of the attributes of each kind and of those with times of their own, in
    the order in which their arrays are numbered. Names may be any text, those of arrays may not. Numbers that few nodes
    have come with their rows; before format 6, there was one for each node.
    """
    header = {
        "kinds": attributes.kinds,
        "categories": list(attributes.categories),
        "numbers": list(attributes.numbers),
        "texts": list(attributes.texts),
        "times": list(attributes.times.own),
        "vectors": list(attributes.vectors),
    }
    arrays: dict[str, npt.NDArray[Any]] = {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)}
    for number, category in enumerate(attributes.categories.values()):
        key = f"category{number}"
        arrays |= _numbers(f"{key}.first", category.first)
        vocabulary = category.vocabulary
        packed = vocabulary.packed if isinstance(vocabulary, Texts) else pack(vocabulary)
        arrays |= _packed(f"{key}.vocabulary", packed)
        arrays |= {
            f"{key}.more_rows": category.more.rows,
            f"{key}.more_counts": category.more.counts,
            f"{key}.more_codes": category.more.codes,
        }
    for number, column in enumerate(attributes.numbers.values()):
        arrays |= _numbers(f"number{number}", column)
    for number, texts in enumerate(attributes.texts.values()):
        arrays |= {f"text{number}.rows": texts.rows, **_packed(f"text{number}", texts.texts)}
    for number, vectors in enumerate(attributes.vectors.values()):
        arrays |= {f"vector{number}.rows": vectors.rows, f"vector{number}": vectors.vectors}
    arrays["times"] = attributes.times.of_nodes
    for number, (rows, times) in enumerate(attributes.times.own.values()):
        arrays |= {f"times{number}.rows": rows, f"times{number}": times}
    return arrays


def attributes_from(arrays: Arrays, mark: str) -> AttributesSnapshot:
    """Return the attributes that ``attribute_arrays`` gave the arrays of."""
    header = json.loads(arrays["header"].tobytes())
    own = {
        name: (arrays[f"times{number}.rows"], arrays[f"times{number}"]) for number, name in enumerate(header["times"])
    }
    times = TimesSnapshot(arrays["times"], own)
    attributes = AttributesSnapshot(mark, header["kinds"], {}, {}, {}, times)
    for number, name in enumerate(header["categories"]):
        key = f"category{number}"
        more = RowCodes(*(arrays[f"{key}.more_{part}"] for part in RowCodes._fields))
        vocabulary = Texts(PackedTexts(*_pieces(arrays, f"{key}.vocabulary")))
        attributes.categories[name] = CategorySnapshot(vocabulary, _numbers_from(arrays, f"{key}.first"), more)
    for number, name in enumerate(header["numbers"]):
        attributes.numbers[name] = in_64_bits(_numbers_from(arrays, f"number{number}"))
    for number, name in enumerate(header["texts"]):
        attributes.texts[name] = RowTexts(arrays[f"text{number}.rows"], PackedTexts(*_pieces(arrays, f"text{number}")))
    for number, name in enumerate(header.get("vectors", ())):  # Files of releases without vectors have none.
        attributes.vectors[name] = RowVectors(arrays[f"vector{number}.rows"], arrays[f"vector{number}"])
    return attributes


def seen_event_arrays(events: LateSeenEvents, start: int, stop: int) -> Arrays:
    """Return the arrays of the events with the numbers [start, stop)."""
    part = events.part(start, stop)
    return {"keys": part.keys, "contents": part.contents, "published_s": part.published_s}


def seen_events_from(parts: Sequence[Arrays], lineage: str, start: int, first: int) -> SeenEventsSnapshot:
    """Return the events of some files, of which the first begins with the number ``start``, from ``first`` on."""
    keys, hashes, published_s = (
        np.concatenate([part[name] for part in parts])[first - start :] for name in ("keys", "contents", "published_s")
    )
    return SeenEventsSnapshot(lineage, first, keys, hashes, published_s)


def lifetime_arrays(lifetimes: LifetimesSnapshot) -> Arrays:
    """Return the arrays of the nodes' lifetimes."""
    arrays: dict[str, npt.NDArray[Any]] = {
        "newest_ms": lifetimes.newest_ms,
        "born_rows": lifetimes.born_rows,
        "born_ms": lifetimes.born_ms,
    }
    return arrays if lifetimes.first_ms is None else {**arrays, "first_ms": lifetimes.first_ms}


def lifetimes_from(arrays: Arrays) -> LifetimesSnapshot:
    """Return the nodes' lifetimes."""
    return LifetimesSnapshot(**arrays)


def tombstone_arrays(tombstones: Sequence[TombstonesSnapshot]) -> Arrays:
    """Return the arrays of the deletions that are remembered."""
    arrays: dict[str, npt.NDArray[Any]] = {"node_types": np.array([each.node_type for each in tombstones], np.str_)}
    for number, each in enumerate(tombstones):
        arrays |= {f"{number}/digests": each.digests, f"{number}/deleted_ms": each.deleted_ms}
    return arrays


def tombstones_from(arrays: Arrays) -> tuple[TombstonesSnapshot, ...]:
    """Return the deletions that are remembered."""
    return tuple(
        TombstonesSnapshot(node_type, arrays[f"{number}/digests"], arrays[f"{number}/deleted_ms"])
        for number, node_type in enumerate(arrays["node_types"].tolist())
    )


def in_64_bits(numbers: RowNumbers[Any]) -> RowNumbers[np.float64]:
    """Return numbers that were kept in 32 bits, before format 7, as the decimals that they probably were.

    Of the decimals that 32 bits keep as one number, that is one with the fewest digits, six or more: ``19.99`` is
    19.99 again, and not 19.989999771118164. Whole numbers stay as they are.
    """
    kept = numbers.numbers
    wide = kept.astype(np.float64)
    if kept.dtype != np.float32:
        return RowNumbers(numbers.rows, wide)
    with np.errstate(invalid="ignore"):
        at = np.flatnonzero((wide != np.rint(wide)) & (np.abs(wide) > _LEAST_DECIMAL))
    exponents = np.floor(np.log10(np.abs(wide[at]))).astype(np.int64)
    for num_digits in range(6, 10):  # Six are always kept, and nine always tell.
        scales = 10.0 ** (num_digits - 1 - exponents)
        decimals = np.rint(wide[at] * scales) / scales
        is_it = decimals.astype(np.float32) == kept[at]
        wide[at[is_it]] = decimals[is_it]
        at, exponents = at[~is_it], exponents[~is_it]
    return RowNumbers(numbers.rows, wide)


def _numbers(key: str, column: RowNumbers[Any]) -> dict[str, npt.NDArray[Any]]:
    return {key: column.numbers} if column.rows is None else {f"{key}.rows": column.rows, key: column.numbers}


def _numbers_from(arrays: Arrays, key: str) -> RowNumbers[Any]:
    return RowNumbers(arrays.get(f"{key}.rows"), arrays[key])


def _packed(key: str, texts: PackedTexts) -> dict[str, npt.NDArray[Any]]:
    return {f"{key}.{name}": array for name, array in texts._asdict().items()}


def _pieces(arrays: Arrays, key: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    return arrays[f"{key}.utf8"], arrays[f"{key}.offsets"]
