"""The files of a model version: its arrays, its node ids and its attribute values."""

import io
import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from springtide.errors import ModelError
from springtide.packed_texts import pack, unpack

TENSORS = "tensors.safetensors"
NODE_IDS = "node_ids.safetensors"
NODE_IDS_ARROW = "node_ids.arrow"  # In versions that earlier releases have published.
ATTRIBUTE_VALUES = "attribute_values.json"

_UTF8, _OFFSETS = "utf8.", "offsets."

Content = tuple[dict[str, npt.NDArray[Any]], dict[str, list[str]], dict[str, list[str]]]


def to_files(
    tensors: Mapping[str, npt.NDArray[Any]],
    node_ids: Mapping[str, list[str]],
    attribute_values: Mapping[str, list[str]],
) -> dict[str, bytes]:
    """Return the content of each file, by its name; see ``registry.ModelArtifact`` for the arguments."""
    return {
        TENSORS: _save(tensors),
        NODE_IDS: _save(_packed(node_ids)),
        ATTRIBUTE_VALUES: json.dumps(dict(attribute_values), indent=2, sort_keys=True).encode(),
    }


def from_files(names: Collection[str], read: Callable[[str], bytes]) -> Content:
    """Return what ``to_files`` was given.

    Args:
        names: The files that the version has.
        read: Returns the content of a file.

    Raises:
        ModelError: If a file cannot be read, or only a package that is not installed can read it.
    """
    try:
        tensors: dict[str, npt.NDArray[Any]] = safetensors.numpy.load(read(TENSORS))
        is_old = NODE_IDS not in names and NODE_IDS_ARROW in names
        node_ids = _ids_from_arrow(read(NODE_IDS_ARROW)) if is_old else _unpacked(read(NODE_IDS))
        attribute_values: dict[str, list[str]] = json.loads(read(ATTRIBUTE_VALUES))
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise ModelError(f"the files of the model cannot be read: {error}") from error
    return tensors, node_ids, attribute_values


def _save(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    # safetensors writes memory as it lies there: rows one after another are what it wants.
    content: bytes = safetensors.numpy.save({name: np.asarray(array, order="C") for name, array in arrays.items()})
    return content


def _packed(node_ids: Mapping[str, list[str]]) -> dict[str, npt.NDArray[Any]]:
    arrays: dict[str, npt.NDArray[Any]] = {}
    for node_type, ids in node_ids.items():
        arrays[_UTF8 + node_type], arrays[_OFFSETS + node_type] = pack(ids)
    return arrays


def _unpacked(content: bytes) -> dict[str, list[str]]:
    arrays = safetensors.numpy.load(content)
    node_types = [name.removeprefix(_UTF8) for name in arrays if name.startswith(_UTF8)]
    return {node_type: unpack(arrays[_UTF8 + node_type], arrays[_OFFSETS + node_type]) for node_type in node_types}


def _ids_from_arrow(content: bytes) -> dict[str, list[str]]:
    import pyarrow as pa  # Heavy, and only versions of earlier releases need it.

    table = pa.ipc.open_file(io.BytesIO(content)).read_all()
    return dict(zip(table.column("node_type").to_pylist(), table.column("ids").to_pylist(), strict=True))
