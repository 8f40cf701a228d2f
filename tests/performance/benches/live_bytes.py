"""What a state holds in memory, part by part: the bytes of all that can be reached from it."""

import ctypes
import mmap
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from springtide.state import LiveState

_NOT_HELD = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType)
_ARRAY_BYTES = 112  # Of an array object without its data.
_PAGES_BYTES = 2**21  # Arrays that are larger have pages of their own, some of which may never have been written to.


def live_bytes(state: LiveState, more: Mapping[str, Sequence[object]] | None = None) -> dict[str, int]:
    """Return the bytes of each part, and of ``more`` parts; what two parts share counts for the first of them."""
    graph = state.graph
    parts: dict[str, list[Any]] = {
        "edges": [graph.store(edge_type) for edge_type in graph.edge_types],
        "ids": [graph.nodes(node_type).ids for node_type in graph.node_types],
        "tombstones": [graph.tombstones],
        "seen events": [state.seen_events],
        **{f"weight {name}": [weight] for name, weight in state.context_weights.items()},
        "attributes, the rest": [state],
        **(more or {}),
    }
    counted: set[int] = set()
    return {name: sum(_bytes_of(root, counted) for root in roots) for name, roots in parts.items()}


def _bytes_of(root: object, counted: set[int]) -> int:
    """Return the bytes of an object and of all that it refers to, without what was counted before."""
    num_bytes, left = 0, [root]
    while left:
        each = left.pop()
        if id(each) in counted or isinstance(each, _NOT_HELD):
            continue
        counted.add(id(each))
        if isinstance(each, np.ndarray):
            # Columns of edges that have grown are pages that nobody else refers to.
            if each.base is None or (isinstance(each.base, memoryview) and _has_no_file(each)):
                num_bytes += _in_memory(each) + _ARRAY_BYTES
            else:
                left.append(each.base)
            continue
        if isinstance(each, mmap.mmap):
            continue  # Pages of a file.
        if isinstance(each, memoryview):
            left.append(each.obj)
            continue
        # Of compiled classes, what they hold beside their object.
        num_bytes += sys.getsizeof(each) + int(getattr(each, "nbytes", 0))
        left.extend(_referred(each))
    return num_bytes


def _has_no_file(array: np.ndarray[Any, Any]) -> bool:
    """Return whether an array is of pages that belong to no file; on another system than Linux, of none."""
    maps = Path("/proc/self/maps")
    for line in maps.read_text(encoding="utf-8").splitlines() if maps.is_file() else ():
        places, _, _, _, inode, *_ = line.split()
        start, stop = (int(place, 16) for place in places.split("-"))
        if start <= array.ctypes.data < stop:
            return inode == "0"
    return False


def _in_memory(array: np.ndarray[Any, Any]) -> int:
    """Return the bytes of an array that are in memory, as the system tells it of large ones."""
    if array.nbytes < _PAGES_BYTES:
        return array.nbytes
    size, address = mmap.PAGESIZE, array.ctypes.data
    start = address // size * size
    num_pages = -(-(address + array.nbytes - start) // size)
    is_there = (ctypes.c_ubyte * num_pages)()
    if ctypes.CDLL(None).mincore(ctypes.c_void_p(start), ctypes.c_size_t(num_pages * size), is_there):
        return array.nbytes  # Another system.
    return min(array.nbytes, size * int(np.count_nonzero(np.frombuffer(is_there, np.uint8) & 1)))


def _referred(each: object) -> Iterator[object]:
    if isinstance(each, dict):
        yield from each
        yield from each.values()
    elif isinstance(each, list | tuple | set | frozenset):
        yield from each
    else:
        yield from getattr(each, "__dict__", {}).values()
        for kind in type(each).__mro__:
            slots = kind.__dict__.get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if hasattr(each, name):
                    yield getattr(each, name)
