"""The files of a model version: its arrays, its node ids and its attribute values."""

import io
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from springtide.errors import ModelError
from springtide.packed_texts import PackedTexts, Texts, pack

TENSORS = "tensors.safetensors"
NODE_IDS = "node_ids.safetensors"
NODE_IDS_ARROW = "node_ids.arrow"  # In versions that earlier releases have published.
ATTRIBUTE_VALUES = "attribute_values.json"

_UTF8, _OFFSETS = "utf8.", "offsets."

_LENGTH_BYTES = 8  # Of the header, at the beginning of a file.
_DTYPES: Mapping[str, Any] = {
    "BOOL": np.bool_,
    **{f"U{8 * size}": f"<u{size}" for size in (1, 2, 4, 8)},
    **{f"I{8 * size}": f"<i{size}" for size in (1, 2, 4, 8)},
    **{f"F{8 * size}": f"<f{size}" for size in (2, 4, 8)},
}

Content = tuple[dict[str, npt.NDArray[Any]], dict[str, Sequence[str]], dict[str, list[str]]]


def to_files(
    tensors: Mapping[str, npt.NDArray[Any]],
    node_ids: Mapping[str, Sequence[str]],
    attribute_values: Mapping[str, list[str]],
) -> dict[str, bytes]:
    """Return the content of each file, by its name; see ``registry.ModelArtifact`` for the arguments."""
    return {
        TENSORS: _save(tensors),
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
        tensors = arrays_in(read(TENSORS))
        is_old = NODE_IDS not in names and NODE_IDS_ARROW in names
        node_ids = _ids_from_arrow(read(NODE_IDS_ARROW)) if is_old else _unpacked(read(NODE_IDS))
        attribute_values: dict[str, list[str]] = json.loads(bytes(read(ATTRIBUTE_VALUES)))
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"the files of the model cannot be read: {error}") from error
    return tensors, node_ids, attribute_values


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
