"""The files of a model version: its arrays, its node ids and its attribute values."""

import hashlib
import io
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from springtide.checkpoint.array_files import bytes_of
from springtide.errors import ModelError
from springtide.packed_texts import PackedTexts, Texts, pack

TENSORS = "tensors.safetensors"
NODE_IDS = "node_ids.safetensors"
NODE_IDS_ARROW = "node_ids.arrow"  # In versions that earlier releases have published.
ATTRIBUTE_VALUES = "attribute_values.json"
CURVES = "curves.json"  # Read by who shows them alone; a version may have none.

_UTF8, _OFFSETS = "utf8.", "offsets."

_LENGTH_BYTES = 8  # Of the header, at the beginning of a file.
_DTYPES: Mapping[str, Any] = {
    "BOOL": np.bool_,
    **{f"U{8 * size}": f"<u{size}" for size in (1, 2, 4, 8)},
    **{f"I{8 * size}": f"<i{size}" for size in (1, 2, 4, 8)},
    **{f"F{8 * size}": f"<f{size}" for size in (2, 4, 8)},
}

_NAMES = {np.dtype(of): name for name, of in _DTYPES.items()}

Content = tuple[dict[str, npt.NDArray[Any]], dict[str, Sequence[str]], dict[str, list[str]]]


def save_tensors(sink: BinaryIO, tensors: Mapping[str, npt.NDArray[Any]]) -> str:
    """Write tensors as ``to_files`` does, piece by piece; return the SHA-256 of the file."""
    entries: dict[str, Any] = {}
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    end = 0
    for name, array in arrays.items():
        start, end = end, end + array.nbytes
        entries[name] = {"dtype": _NAMES[array.dtype], "shape": list(array.shape), "data_offsets": [start, end]}
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % _LENGTH_BYTES)
    digest = hashlib.sha256()
    pieces: list[bytes | memoryview] = [len(header).to_bytes(_LENGTH_BYTES, "little"), header]
    for piece in (*pieces, *map(bytes_of, arrays.values())):
        digest.update(piece)
        sink.write(piece)
    return digest.hexdigest()


def to_files(
    tensors: Mapping[str, npt.NDArray[Any]],
    node_ids: Mapping[str, Sequence[str]],
    attribute_values: Mapping[str, list[str]],
) -> dict[str, bytes]:
    """Return the content of each file, by its name; see ``registry.ModelArtifact`` for the arguments."""
    return {
        TENSORS: _save(tensors),
        **to_name_files(node_ids, attribute_values),
    }


def to_name_files(node_ids: Mapping[str, Sequence[str]], attribute_values: Mapping[str, list[str]]) -> dict[str, bytes]:
    """Return the content of the files that hold names, as ``to_files`` does."""
    return {
        NODE_IDS: _save(_packed(node_ids)),
        ATTRIBUTE_VALUES: json.dumps(dict(attribute_values), indent=2, sort_keys=True).encode(),
    }


def from_files(names: Collection[str], read: Callable[[str], memoryview]) -> Content:
    """Return what ``to_files`` was given; arrays and ids lie in the content of the files.

    Args:
        names: The files that the version has.
        read: Returns the content of a file.

    Raises:
        ModelError: If a file cannot be read, or only a package that is not installed can read it.
    """
    try:
        return arrays_in(read(file_of(TENSORS, names))), *names_from_files(names, read)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"the files of the model cannot be read: {error}") from error


def names_from_files(
    names: Collection[str], read: Callable[[str], memoryview]
) -> tuple[dict[str, Sequence[str]], dict[str, list[str]]]:
    """Return the node ids and the attribute values of a version; see ``from_files``."""
    try:
        current, old = file_of(NODE_IDS, names), file_of(NODE_IDS_ARROW, names)
        is_old = current not in names and old in names
        node_ids = _ids_from_arrow(read(old)) if is_old else _unpacked(read(current))
        attribute_values: dict[str, list[str]] = json.loads(bytes(read(file_of(ATTRIBUTE_VALUES, names))))
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"the files of the model cannot be read: {error}") from error
    return node_ids, attribute_values


def file_of(name: str, names: Collection[str]) -> str:
    """Return which of a version's files is the one of a name; see ``renamed``."""
    stem, _, suffix = name.partition(".")
    found = (each for each in names if each.startswith(f"{stem}-") and each.endswith(f".{suffix}"))
    return name if name in names else next(found, name)


def renamed(name: str, revision: str) -> str:
    """Return the name of a file in another revision of its version: ``tensors-1f2e3d4c.safetensors``."""
    stem, _, suffix = name.partition(".")
    return f"{stem}-{revision}.{suffix}"


def arrays_in(content: memoryview) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a safetensors file, by name; they lie in its content.

    The package's own reader copies each array, and what it copies from.

    Raises:
        ValueError: If it is no such file, or has arrays of a type that NumPy does not have.
    """
    start = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")
    if not _LENGTH_BYTES < start <= len(content):
        raise ValueError(f"wanted a header within {len(content)} bytes, got one up to {start}")
    header = json.loads(bytes(content[_LENGTH_BYTES:start]))
    if not isinstance(header, dict):
        raise ValueError(f"wanted a header that is an object, got {type(header).__name__}")
    data, arrays = content[start:], {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in _DTYPES:
            raise ValueError(f"{name}: no type {entry['dtype']!r} (choices: {', '.join(_DTYPES)})")
        first, end = entry["data_offsets"]
        if not 0 <= first <= end <= len(data):
            raise ValueError(f"{name}: wanted data within {len(data)} bytes, got {first} to {end}")
        array = np.frombuffer(data[first:end], _DTYPES[entry["dtype"]]).reshape(entry["shape"])
        arrays[name] = array if array.flags.aligned else array.copy()  # Some writers put no spaces behind the header.
    return arrays


def _save(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    # safetensors writes memory as it lies there: rows one after another are what it wants.
    content: bytes = safetensors.numpy.save({name: np.asarray(array, order="C") for name, array in arrays.items()})
    return content


def _packed(node_ids: Mapping[str, Sequence[str]]) -> dict[str, npt.NDArray[Any]]:
    arrays: dict[str, npt.NDArray[Any]] = {}
    for node_type, ids in node_ids.items():
        packed = ids.packed if isinstance(ids, Texts) else pack(ids)
        arrays[_UTF8 + node_type], arrays[_OFFSETS + node_type] = packed
    return arrays


def _unpacked(content: memoryview) -> dict[str, Sequence[str]]:
    arrays = arrays_in(content)
    node_types = [name.removeprefix(_UTF8) for name in arrays if name.startswith(_UTF8)]
    return {name: Texts(PackedTexts(arrays[_UTF8 + name], arrays[_OFFSETS + name])) for name in node_types}


def _ids_from_arrow(content: memoryview) -> dict[str, Sequence[str]]:
    import pyarrow as pa  # Heavy, and only versions of earlier releases need it.

    table = pa.ipc.open_file(io.BytesIO(bytes(content))).read_all()
    return dict(zip(table.column("node_type").to_pylist(), table.column("ids").to_pylist(), strict=True))
