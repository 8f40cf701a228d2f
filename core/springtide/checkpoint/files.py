"""The content of a checkpoint's files: named arrays, each file an npz.

Edges, ids and attributes of earlier releases are Arrow files; ``arrow_files`` reads them, and nothing else needs Arrow.
"""

import io
import itertools
import json
import math
import struct
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from springtide.events.seen_events import SeenEventsSnapshot
from springtide.graph.attribute_times import TimesSnapshot
from springtide.graph.attributes import AttributesSnapshot
from springtide.graph.categories import CategorySnapshot
from springtide.graph.edges import EdgeArrays, EdgeView
from springtide.graph.lifetimes import LifetimesSnapshot
from springtide.graph.tombstones import TombstonesSnapshot
from springtide.packed_texts import PackedTexts, pack, unpack

ARROW = ".arrow"  # How the names of files of earlier releases end.
_PIECE_BYTES = 1 << 20  # Its checksums and its way to the disk read it from the processor's cache.
_LOCAL_HEADER = struct.Struct("<26xHH")  # Of an entry of a zip file: the lengths of its name and of what is extra.
_MAX_HEADER_BYTES = 1 << 16  # Of an array, in version 1.0 of NumPy's format.

Arrays = Mapping[str, npt.NDArray[Any]]


def edge_arrays(edges: EdgeView, start: int, stop: int) -> Arrays:
    """Return the arrays of the edges [start, stop), in order of arrival."""
    columns: dict[str, npt.NDArray[Any]] = {
        "source": edges.source[start:stop],
        "target": edges.target[start:stop],
        "timestamp_ms": edges.timestamps_ms[start:stop],
        "weight": edges.weights[start:stop],
    }
    if edges.features is not None:
        columns["features"] = edges.features[start:stop]
    return columns


def edges_from(file: str, content: bytes) -> EdgeArrays:
    """Return sources, targets, times, weights and features, the arguments of ``EdgeStore.append``."""
    if file.endswith(ARROW):
        from springtide.checkpoint.arrow_files import edges_from_arrow  # Imports Arrow, for earlier releases alone.

        return edges_from_arrow(content)
    columns = arrays_from_npz(content, is_copy=False)  # They are copied into those of the graph.
    return (
        columns["source"],
        columns["target"],
        columns["timestamp_ms"],
        columns["weight"],
        columns.get("features"),
    )


def id_arrays(ids: PackedTexts, start: int, stop: int) -> Arrays:
    """Return the arrays of the ids of the rows [start, stop)."""
    first, last = (int(ids.offsets[row]) for row in (start, stop))
    return PackedTexts(ids.utf8[first:last], ids.offsets[start : stop + 1] - first)._asdict()


def ids_from(file: str, content: bytes) -> PackedTexts:
    """Return ids in row order."""
    if file.endswith(ARROW):
        from springtide.checkpoint.arrow_files import ids_from_arrow

        return pack(ids_from_arrow(content))
    return PackedTexts(**arrays_from_npz(content))


def joined(parts: Sequence[PackedTexts]) -> PackedTexts:
    """Return the texts of all parts, one part after another."""
    starts = itertools.accumulate((len(part.utf8) for part in parts), initial=0)
    offsets = [part.offsets[:-1] + start for part, start in zip(parts, starts, strict=False)]
    num_bytes = sum(len(part.utf8) for part in parts)
    return PackedTexts(
        np.concatenate([np.empty(0, np.uint8), *(part.utf8 for part in parts)]),
        np.concatenate([*offsets, np.array([num_bytes])]),
    )


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


def seen_event_arrays(events: SeenEventsSnapshot, start: int, stop: int) -> Arrays:
    """Return the arrays of the events with the numbers [start, stop)."""
    part = slice(start - events.first, stop - events.first)
    return {"keys": events.keys[part], "contents": events.contents[part], "published_s": events.published_s[part]}


def seen_events_from_npz(contents: Sequence[bytes], lineage: str, start: int, first: int) -> SeenEventsSnapshot:
    """Return the events of some files, of which the first begins with the number ``start``, from ``first`` on."""
    parts = [arrays_from_npz(content) for content in contents]
    keys, hashes, published_s = (
        np.concatenate([part[name] for part in parts])[first - start :] for name in ("keys", "contents", "published_s")
    )
    return SeenEventsSnapshot(lineage, first, keys, hashes, published_s)


def write_npz(sink: BinaryIO, arrays: Arrays) -> None:
    """Write named arrays piece by piece, as ``np.savez`` would, without a copy of any.

    Raises:
        ValueError: If an array holds Python objects, which would need pickle.
    """
    with zipfile.ZipFile(sink, "w") as archive:
        for name, given in arrays.items():
            if given.dtype.hasobject:
                raise ValueError(f"{name}: wanted numbers or texts, got Python objects")
            array = np.asarray(given, order="C")
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array_header_1_0(entry, np.lib.format.header_data_from_array_1_0(array))
                content = memoryview(array.reshape(-1).view(np.uint8).data) if array.size else memoryview(b"")
                for start in range(0, len(content), _PIECE_BYTES):
                    entry.write(content[start : start + _PIECE_BYTES])


def arrays_to_npz(arrays: Arrays) -> bytes:
    """Return the file of named arrays; see ``write_npz``."""
    sink = io.BytesIO()
    write_npz(sink, arrays)
    return sink.getvalue()


def arrays_from_npz(content: bytes, *, is_copy: bool = True) -> dict[str, npt.NDArray[Any]]:
    """Return named arrays.

    Args:
        content: The file, whose checksum was found right.
        is_copy: Whether they may be written to; otherwise they are the bytes of the file themselves.
    """
    arrays = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{entry.filename}: wanted arrays that are not compressed")
            start = entry.header_offset + _LOCAL_HEADER.size
            start += sum(_LOCAL_HEADER.unpack_from(content, entry.header_offset)[-2:])  # The name, and what is extra.
            head = io.BytesIO(content[start : start + min(entry.file_size, _MAX_HEADER_BYTES)])
            if np.lib.format.read_magic(head) != (1, 0):
                raise ValueError(f"{entry.filename}: wanted an array in version 1.0 of the format")
            shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(head)
            if dtype.hasobject:
                raise ValueError(f"{entry.filename}: wanted numbers or texts, got Python objects")
            count = math.prod(shape)
            array = np.frombuffer(content, dtype, count, start + head.tell()) if count else np.empty(0, dtype)
            array = array.reshape(shape, order="F" if is_fortran else "C")
            arrays[entry.filename.removesuffix(".npy")] = array.copy() if is_copy else array
    return arrays


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
