"""The content of a checkpoint's files: named arrays, each file an npz.

Edges, ids and attributes of earlier releases are Arrow files; ``arrow_files`` reads them, and nothing else needs Arrow.
"""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.events.seen_events import SeenEventsSnapshot
from springtide.graph.attribute_times import TimesSnapshot
from springtide.graph.attributes import AttributesSnapshot
from springtide.graph.categories import CategorySnapshot
from springtide.graph.edges import EdgeArrays, EdgeView
from springtide.graph.lifetimes import LifetimesSnapshot
from springtide.graph.tombstones import TombstonesSnapshot
from springtide.packed_texts import pack, unpack

ARROW = ".arrow"  # How the names of files of earlier releases end.


def edges_to_npz(edges: EdgeView, start: int, stop: int) -> bytes:
    """Return the file of the edges [start, stop), in order of arrival."""
    columns: dict[str, npt.NDArray[Any]] = {
        "source": edges.source[start:stop],
        "target": edges.target[start:stop],
        "timestamp_ms": edges.timestamps_ms[start:stop],
        "weight": edges.weights[start:stop],
    }
    if edges.features is not None:
        columns["features"] = edges.features[start:stop]
    return arrays_to_npz(columns)


def edges_from(file: str, content: bytes) -> EdgeArrays:
    """Return sources, targets, times, weights and features, the arguments of ``EdgeStore.append``."""
    if file.endswith(ARROW):
        from springtide.checkpoint.arrow_files import edges_from_arrow  # Imports Arrow, for earlier releases alone.

        return edges_from_arrow(content)
    columns = arrays_from_npz(content)
    return (
        columns["source"],
        columns["target"],
        columns["timestamp_ms"],
        columns["weight"],
        columns.get("features"),
    )


def ids_to_npz(ids: Sequence[str]) -> bytes:
    """Return the file of ids in row order."""
    return arrays_to_npz(pack(ids)._asdict())


def ids_from(file: str, content: bytes) -> list[str]:
    """Return ids in row order."""
    if file.endswith(ARROW):
        from springtide.checkpoint.arrow_files import ids_from_arrow

        return ids_from_arrow(content)
    return unpack(**arrays_from_npz(content))


def attributes_to_npz(attributes: AttributesSnapshot) -> bytes:
    """Return the file of a node type's attributes.

    ``header`` is JSON: the kinds, and the names of the attributes of each kind and of those with times of their own, in
    the order in which their arrays are numbered. Names may be any text, those of arrays may not.
    """
    header = {
        "kinds": attributes.kinds,
        "categories": list(attributes.categories),
        "numbers": list(attributes.numbers),
        "texts": list(attributes.texts),
        "times": list(attributes.times.own),
    }
    arrays: dict[str, npt.NDArray[Any]] = {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)}
    for number, category in enumerate(attributes.categories.values()):
        key = f"category{number}"
        arrays |= {f"{key}.first": category.first}
        arrays |= _packed(f"{key}.vocabulary", category.vocabulary)
        arrays |= {
            f"{key}.more_rows": np.fromiter(category.more, np.int64, len(category.more)),
            f"{key}.more_counts": np.fromiter(map(len, category.more.values()), np.int64, len(category.more)),
            f"{key}.more_codes": np.array([code for codes in category.more.values() for code in codes], np.int32),
        }
    for number, column in enumerate(attributes.numbers.values()):
        arrays[f"number{number}"] = column
    for number, texts in enumerate(attributes.texts.values()):
        arrays[f"text{number}.rows"] = np.fromiter(texts, np.int64, len(texts))
        arrays |= _packed(f"text{number}", texts.values())
    arrays["times"] = attributes.times.of_nodes
    for number, (rows, times) in enumerate(attributes.times.own.values()):
        arrays |= {f"times{number}.rows": rows, f"times{number}": times}
    return arrays_to_npz(arrays)


def attributes_from(file: str, content: bytes, mark: str) -> AttributesSnapshot:
    """Return a node type's attributes; in a file without times, these are unknown, and nothing was cleared."""
    if file.endswith(ARROW):
        from springtide.checkpoint.arrow_files import attributes_from_arrow

        return attributes_from_arrow(content, mark)
    arrays = arrays_from_npz(content)
    header = json.loads(arrays["header"].tobytes())
    own = {
        name: (arrays[f"times{number}.rows"], arrays[f"times{number}"]) for number, name in enumerate(header["times"])
    }
    times = TimesSnapshot(arrays["times"], own)
    attributes = AttributesSnapshot(mark, header["kinds"], {}, {}, {}, times)
    for number, name in enumerate(header["categories"]):
        key = f"category{number}"
        rows, counts = arrays[f"{key}.more_rows"].tolist(), arrays[f"{key}.more_counts"]
        codes = np.split(arrays[f"{key}.more_codes"], np.cumsum(counts)[:-1])
        more = {row: tuple(each.tolist()) for row, each in zip(rows, codes, strict=False)}
        vocabulary = unpack(*_pieces(arrays, f"{key}.vocabulary"))
        attributes.categories[name] = CategorySnapshot(vocabulary, arrays[f"{key}.first"], more)
    for number, name in enumerate(header["numbers"]):
        attributes.numbers[name] = arrays[f"number{number}"]
    for number, name in enumerate(header["texts"]):
        values = unpack(*_pieces(arrays, f"text{number}"))
        attributes.texts[name] = dict(zip(arrays[f"text{number}.rows"].tolist(), values, strict=True))
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


def _packed(key: str, texts: Iterable[str]) -> dict[str, npt.NDArray[Any]]:
    return {f"{key}.{name}": array for name, array in pack(texts)._asdict().items()}


def _pieces(arrays: Mapping[str, npt.NDArray[Any]], key: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    return arrays[f"{key}.utf8"], arrays[f"{key}.offsets"]
