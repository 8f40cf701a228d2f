"""Writing the files of a checkpoint: two at a time, so that one reaches the disk while the next one is produced."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, BinaryIO

import numpy.typing as npt

from springtide.checkpoint import files
from springtide.checkpoint import manifest as manifests
from springtide.checkpoint.array_files import ARRAYS, Arrays, crc32c_of_arrays, write_arrays
from springtide.checkpoint.manifest_files import FORMAT, Json
from springtide.checksums import CRC32C
from springtide.state import EdgesSnapshot, NodesSnapshot, StateSnapshot
from springtide.storage import Storage

SEGMENTS = "segments"

_NUM_WRITERS = 2


class Writing:
    """The files of one checkpoint, on their way to a storage.

    Args:
        storage: The folder that checkpoints are kept in.
        name: Name of the checkpoint.
        base: Manifest of the former checkpoint, whose files are used again where they hold the same; empty for none.
        fence: Number of the lease that it is written under, which stands in the names of its files: a writer that was
            replaced, and does not know it yet, writes to other ones. None without a lease.
    """

    def __init__(self, storage: Storage, name: str, base: Json, fence: int | None = None) -> None:
        self._storage = storage
        self._name = name
        self._fence = fence
        self._base = base
        self._writers = ThreadPoolExecutor(_NUM_WRITERS, thread_name_prefix="checkpoint-file")
        self._coming: list[Future[None]] = []

    def run(self, snapshot: StateSnapshot) -> Json:
        """Write what the former checkpoint lacks; return the manifest, once all files and their names are durable.

        Raises:
            OSError: If a file cannot be written.
        """
        try:
            manifest = self._manifest(snapshot)
            for written in self._coming:
                written.result()
        finally:
            self._writers.shutdown(cancel_futures=True)
        self._storage.sync(SEGMENTS)
        return manifest

    def _manifest(self, snapshot: StateSnapshot) -> Json:
        name, base, tombstones = self._name, self._base, snapshot.tombstones
        old_edges = {tuple(saved["type"]): saved for saved in base.get("edges", ())}
        old_nodes = {saved["type"]: saved for saved in base.get("nodes", ())}
        return {
            "format": FORMAT,
            "name": name,
            **({} if self._fence is None else {"fence": self._fence}),
            "version": snapshot.version,
            "position": manifests.position_to_json(snapshot.position),
            "gaps": manifests.gaps_to_json(snapshot.gaps),
            "num_events": snapshot.num_events,
            "newest_ms": snapshot.newest_ms,
            "behind_ms": snapshot.behind_ms,
            "num_forgotten": snapshot.num_forgotten,
            "settings": list(snapshot.used_settings),
            "left_out": manifests.left_out_to_json(snapshot.left_out),
            "num_edges": sum(len(edges.edges) for edges in snapshot.edges),
            "circumstances": snapshot.circumstances,
            "tombstones": self._put("tombstones", lambda: files.tombstone_arrays(tombstones.copied()))
            if tombstones is not None
            else None,
            "edges": [
                self._write_edges(f"edges{index}", edges, old_edges.get(edges.edge_type))
                for index, edges in enumerate(snapshot.edges)
            ],
            "nodes": [
                self._write_nodes(f"nodes{index}", nodes, old_nodes.get(nodes.node_type))
                for index, nodes in enumerate(snapshot.nodes)
            ],
            "context_weights": {
                weight: self._put(f"weight{index}", partial(dict, arrays))
                for index, (weight, arrays) in enumerate(snapshot.learned().items())
            },
            "seen_events": self._write_seen_events(snapshot),
            "known_names": self._write_known_names(snapshot),
            "tallies": self._write_tallies(snapshot.tallies, snapshot.num_untallied),
        }

    def _write_tallies(self, tallies: Mapping[str, npt.NDArray[Any]] | None, num_left_out: int) -> Json | None:
        if tallies is None:
            return None
        entry = self._put("tallies", lambda: dict(tallies))  # Whole each time: while an experiment runs, they change.
        entry["num_left_out"] = num_left_out
        return entry

    def _write_known_names(self, snapshot: StateSnapshot) -> Json | None:
        old, names = self._base.get("known_names"), snapshot.known_names
        if names is None or not names.groups:
            return None
        arrays = names.arrays()
        return old if old and old.get(CRC32C) == crc32c_of_arrays(arrays) else self._put("names", lambda: arrays)

    def _write_seen_events(self, state: StateSnapshot) -> Json | None:
        snapshot, old = state.seen_events, self._base.get("seen_events")
        if snapshot is None:
            return None
        same = old["segments"] if old is not None and old["lineage"] == snapshot.lineage else []
        return {
            "lineage": snapshot.lineage,
            "first": snapshot.first,
            "segments": self._put_rows(
                "seen",
                same,
                partial(files.seen_event_arrays, snapshot),
                snapshot.stop,
                snapshot.first,
            ),
            "num_duplicates": state.num_duplicates,
            "num_changed": state.num_changed_duplicates,
        }

    def _write_edges(self, stem: str, snapshot: EdgesSnapshot, old: Json | None) -> Json:
        same = _kept_files(old["segments"]) if old is not None and old["lineage"] == snapshot.lineage else []
        edges = snapshot.edges
        segments = self._put_rows(stem, same, partial(files.edge_arrays, edges), len(edges))
        return {"type": list(snapshot.edge_type), "lineage": snapshot.lineage, "segments": segments}

    def _write_nodes(self, stem: str, snapshot: NodesSnapshot, old: Json | None) -> Json:
        same = _kept_files(old["ids"]) if old is not None and old["ids_lineage"] == snapshot.ids_lineage else []
        ids = snapshot.ids
        id_files = self._put_rows(f"{stem}-ids", same, partial(files.id_arrays, ids), ids.num_rows)
        attributes, mark = old and old["attributes"], snapshot.attributes.version
        if attributes is None or attributes["mark"] != mark or not _kept_files([attributes]):
            copied = snapshot.attributes.copied()  # At once: what changes before is kept for it.
            attributes = self._put(f"{stem}-attributes", lambda: files.attribute_arrays(copied))
            attributes["mark"] = mark
        lifetimes, arrays = old and old.get("lifetimes"), files.lifetime_arrays(snapshot.lifetimes.copied())
        if not lifetimes or lifetimes.get(CRC32C) != crc32c_of_arrays(arrays):
            lifetimes = self._put(f"{stem}-lifetimes", lambda: arrays)
        return {
            "type": snapshot.node_type,
            "ids_lineage": snapshot.ids_lineage,
            "ids": id_files,
            "attributes": attributes,
            "lifetimes": lifetimes,
        }

    def _put_rows(
        self,
        stem: str,
        same: Sequence[Json],
        arrays_of: Callable[[int, int], Arrays],
        stop: int,
        first: int = 0,
    ) -> list[Json]:
        """Write rows that the former checkpoint lacks, in segments; return the entries of all segments.

        Args:
            stem: How the names of the files begin, after the checkpoint's.
            same: Entries of the former checkpoint's segments, which hold the same rows.
            arrays_of: Returns the arrays of a range of rows.
            stop: The number of rows, those before ``first`` included.
            first: The first row that is wanted.
        """
        kept, ranges = manifests.plan_segments(same, stop, first)
        new = [self._put(f"{stem}-{start}", partial(arrays_of, start, end), start, end) for start, end in ranges]
        return [*kept, *new]

    def _put(self, stem: str, make: Callable[[], Arrays], start: int = 0, stop: int = 0) -> Json:
        """Begin to write a file; return its entry, which has no size and no checksum before ``run`` returns."""
        prefix = file_prefix(self._name, self._fence)
        entry: Json = {"file": f"{prefix}{stem}{ARRAYS}", "start": start, "stop": stop}
        self._coming.append(self._writers.submit(self._write, entry, make))
        return entry

    def _write(self, entry: Json, make: Callable[[], Arrays]) -> None:
        arrays, name = make(), f"{SEGMENTS}/{entry['file']}"

        def produce(sink: BinaryIO) -> None:
            entry["file_bytes"] = write_arrays(sink, arrays)

        entry[CRC32C] = self._storage.write_from(name, produce, is_last=False)
        entry["num_bytes"] = sum(array.nbytes for array in arrays.values())


def file_prefix(name: str, fence: int | None) -> str:
    """Return how the names of a checkpoint's files begin."""
    return f"{name}-" if fence is None else f"{name}-{fence}-"


def fence_of(file: str) -> int:
    """Return the number of the lease that a file was written under; 0 if there was none."""
    fence = file.split("-", 2)[1:2]
    return int(fence[0]) if fence and fence[0].isdecimal() else 0


def _kept_files(entries: Sequence[Json]) -> Sequence[Json]:
    """Return the files if a new checkpoint may share them; those of earlier releases are written again, all of them."""
    return () if any(entry["file"].endswith(files.ARROW) for entry in entries) else entries
