"""Writing and restoring checkpoints."""

import importlib
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from springtide.checkpoint import files
from springtide.checkpoint import manifest as manifests
from springtide.checkpoint.lock import CheckpointLock
from springtide.checkpoint.manifest import Checkpoint
from springtide.checkpoint.manifest_files import FORMAT, HINT, MANIFESTS, Json, ManifestFiles, to_bytes
from springtide.checkpoint.other_settings import apply_settings
from springtide.clock import wall_ms
from springtide.errors import CheckpointError
from springtide.events.seen_events import SeenEvents
from springtide.extras import missing_words
from springtide.graph.attributes import AttributesSnapshot
from springtide.state import EdgesSnapshot, LiveState, NodesSnapshot, StateSnapshot
from springtide.storage import Storage, sha256

SEGMENTS = "segments"


class CheckpointStore:
    """Checkpoints at one URL, with one writer and any number of readers.

    Of a column that only grew since the last checkpoint, the new rows are written. A column that was compacted, by
    eviction or because a node was forgotten, is written again as a whole. Segments are written first and the manifest
    last, so a crash leaves the former checkpoint as it was. When a node was forgotten, all earlier checkpoints are
    deleted at once; otherwise the last ``keep`` stay. A reader whose checkpoint is deleted meanwhile finds a file
    missing, and reads the newest one instead.

    Args:
        url: A local folder, or an fsspec URL.
        keep: How many checkpoints to keep.
        lock: The lock of this URL, acquired; it is checked while a checkpoint is written. None for readers, and where
            nobody else can write.
    """

    def __init__(self, url: str, keep: int = 3, lock: CheckpointLock | None = None) -> None:
        if keep < 1:
            raise CheckpointError(f"keep: wanted at least 1 checkpoint, got {keep}")
        self.url = url
        self._storage = Storage(url)
        self._manifests = ManifestFiles(self._storage)
        self._keep = keep
        self._lock = lock

    def raise_if_lock_lost(self) -> None:
        """Raise CheckpointLockLostError if the lock is known to be lost; reads nothing."""
        if self._lock is not None:
            self._lock.raise_if_lost()

    def names(self) -> list[str]:
        """Return the names of the checkpoints, newest first.

        Raises:
            CheckpointError: If they cannot be listed.
        """
        return self._manifests.names()

    def latest(self) -> Checkpoint | None:
        """Return the newest checkpoint, or None if there is none.

        Raises:
            CheckpointError: If its manifest is damaged. An older checkpoint never takes its place silently: a person
                chooses one by name.
        """
        manifest = self._manifests.newest()
        return None if manifest is None else manifests.summary(manifest)

    def open(self, name: str) -> Checkpoint:
        """Return a checkpoint by name.

        Raises:
            CheckpointError: If there is none of that name, or its manifest is damaged.
        """
        return manifests.summary(self._manifests.read(name))

    def read_file(self, entry: Json) -> bytes:
        """Return the content of a file that a manifest names.

        Args:
            entry: The file's entry in the manifest.

        Raises:
            CheckpointError: If the file is missing, or its checksum is another one.
        """
        name = f"{SEGMENTS}/{entry['file']}"
        path = self._storage.path(name)
        try:
            content = self._storage.read(name)
        except FileNotFoundError:
            raise CheckpointError(f"{path}: the manifest names this file, and it is missing") from None
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read: {error}") from error
        if (found := sha256(content)) != entry["sha256"]:
            raise CheckpointError(f"{path}: damaged: wanted SHA-256 {entry['sha256']}, got {found}")
        return content

    def file_sizes(self) -> dict[str, int]:
        """Return the size in bytes of each file that manifests may name, by file name.

        Raises:
            CheckpointError: If the files cannot be listed.
        """
        try:
            return self._storage.sizes(SEGMENTS)
        except OSError as error:
            raise CheckpointError(f"checkpoints at {self._storage.url} cannot be listed: {error}") from error

    def copy_as_newest(self, name: str) -> Checkpoint:
        """Make the state of an older checkpoint the newest one: write its manifest again under the next name.

        The copy shares the older one's files. Nothing is deleted, and no name is used twice.

        Raises:
            CheckpointError: If there is no such checkpoint, its manifest is damaged, or the copy cannot be written.
            CheckpointLockLostError: If another process writes here now.
        """
        original, newest = self.open(name), self.names()[0]
        if name == newest:
            return original
        manifest = {**original.manifest, "name": _next_name(newest), "copy_of": name}
        self._check_lock()
        try:
            self._storage.write(f"{MANIFESTS}/{manifest['name']}.json", to_bytes(manifest))
        except OSError as error:
            raise CheckpointError(f"a copy of checkpoint {name} cannot be written: {error}") from error
        return manifests.summary(manifest)

    def write(self, snapshot: StateSnapshot, now_ms: int | None = None) -> Checkpoint:
        """Write a checkpoint; when this returns it is durable.

        Args:
            snapshot: The state.
            now_ms: The creation time to note; by default the wall clock's.

        Raises:
            CheckpointLockLostError: If another process writes here now.
            CheckpointError: If it cannot be written; the former checkpoint stays as it was.
        """
        self._check_lock()
        names = self.names()
        name = _next_name(names[0] if names else "0")
        try:
            base = self.open(names[0]).manifest if names else {}
        except CheckpointError:
            base = {}  # Damaged: everything is written again.
        try:
            manifest = self._write_segments(name, snapshot, base)
            manifest |= {"created_ms": wall_ms() if now_ms is None else now_ms}
            self._check_lock()  # Writing segments may have taken long; what follows changes what others read.
            self._storage.write(f"{MANIFESTS}/{name}.json", to_bytes(manifest))
            self._prune(manifest, names)
        except OSError as error:
            raise CheckpointError(f"checkpoint {name} cannot be written to {self._storage.url}: {error}") from error
        return manifests.summary(manifest)

    def restore(self, checkpoint: Checkpoint, state: LiveState) -> tuple[str, ...]:
        """Fill an empty state from a checkpoint: the same graph, the same rows, the same position.

        The state's settings are applied to it (``apply_settings``); ``state.lacking`` names what that cannot mend. A
        context weight that is not in the checkpoint, or was written under other settings, learns from the graph's
        positive interactions instead.

        Returns:
            What was changed for settings that are not those it was written under, in words.

        Raises:
            CheckpointError: If the state is not empty; or if a file is missing or damaged, which leaves the state
                partly filled.
        """
        graph, manifest = state.graph, checkpoint.manifest
        if graph.node_types or state.num_events:
            raise CheckpointError("wanted an empty state to restore into, got one that has events already")
        if manifest["format"] == 1:
            _refuse_without_arrow(checkpoint.name)
        # An older checkpoint starts a new lineage: later checkpoints have the old one, but this state does not continue
        # them.
        is_newest = self.names()[:1] == [checkpoint.name]
        for saved in manifest["nodes"]:
            graph.nodes(saved["type"]).restore(
                files.joined([files.ids_from(entry["file"], self._content(entry)) for entry in saved["ids"]]),
                saved["ids_lineage"] if is_newest else uuid.uuid4().hex,
                self._attributes(saved["attributes"], is_newest),
            )
            if "lifetimes" in saved:
                lifetimes = files.lifetimes_from_npz(self._content(saved["lifetimes"]))
                graph.nodes(saved["type"]).lifetimes.restore(lifetimes)
        has_lifetimes = all("lifetimes" in saved for saved in manifest["nodes"])  # Checkpoints before 0.5 have none.
        for saved in manifest["edges"]:
            edge_type = (saved["type"][0], saved["type"][1], saved["type"][2])
            store = graph.store(edge_type)
            num_edges = max((entry["stop"] for entry in saved["segments"]), default=0)
            for entry, content in zip(saved["segments"], self._contents(saved["segments"]), strict=True):
                edges = files.edges_from(entry["file"], content)
                store.append(*edges, num_expected=num_edges)
                if not has_lifetimes:
                    source, target, timestamps_ms, *_ = edges
                    graph.note_times(edge_type, source.copy(), target.copy(), timestamps_ms.copy())  # Aligned.
            if is_newest:
                store.lineage = saved["lineage"]
        if manifest.get("tombstones"):
            graph.tombstones.restore(files.tombstones_from_npz(self._content(manifest["tombstones"])))
        if manifest.get("circumstances"):
            state.circumstances.restore(manifest["circumstances"])
        change = apply_settings(manifest, state)
        graph.restore(manifest["version"], manifest["newest_ms"], manifest["num_forgotten"])
        num_evicted = graph.evict_if_far_past_bounds()  # They may be lower than they were.
        state.position, state.num_events = checkpoint.position, checkpoint.num_events
        state.clock.note_behind(checkpoint.behind_ms)
        state.gaps = manifests.gaps_from_json(manifest.get("gaps", ()))
        state.left_out = manifests.left_out_from_json(manifest.get("left_out", ()))
        self._restore_seen_events(manifest, state.seen_events, is_newest=is_newest)
        for name, weight in state.context_weights.items():
            entry = manifest["context_weights"].get(name)
            if entry is None or name in change.to_learn_anew:
                weight.observe(state.positive_interactions(graph.view()))
            else:
                weight.restore(files.arrays_from_npz(self._content(entry)))
        state.reclaim_restored()
        evicted = (f"{num_evicted:,} edges dropped that are beyond the bounds of [graph]",) if num_evicted else ()
        return change.applied + evicted

    def _restore_seen_events(self, manifest: Json, seen_events: SeenEvents, *, is_newest: bool) -> None:
        saved = manifest.get("seen_events")
        if saved is None:  # No event had an id, or the checkpoint is older than the window.
            return
        lineage = saved["lineage"] if is_newest else uuid.uuid4().hex
        contents = list(self._contents(saved["segments"]))
        start = saved["segments"][0]["start"]
        seen_events.restore(files.seen_events_from_npz(contents, lineage, start, saved["first"]))
        seen_events.num_duplicates, seen_events.num_changed = saved["num_duplicates"], saved["num_changed"]

    def _check_lock(self) -> None:
        if self._lock is None:
            return
        try:
            self._lock.check()
        except OSError as error:
            raise CheckpointError(f"the lock of {self._storage.url} cannot be read: {error}") from error

    def _write_segments(self, name: str, snapshot: StateSnapshot, base: Json) -> Json:
        old_edges = {tuple(saved["type"]): saved for saved in base.get("edges", ())}
        old_nodes = {saved["type"]: saved for saved in base.get("nodes", ())}
        return {
            "format": FORMAT,
            "name": name,
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
            "tombstones": self._put(f"{name}-tombstones.npz", files.tombstones_to_npz(snapshot.tombstones))
            if snapshot.tombstones
            else None,
            "edges": [
                self._write_edges(f"{name}-edges{index}", edges, old_edges.get(edges.edge_type))
                for index, edges in enumerate(snapshot.edges)
            ],
            "nodes": [
                self._write_nodes(f"{name}-nodes{index}", nodes, old_nodes.get(nodes.node_type))
                for index, nodes in enumerate(snapshot.nodes)
            ],
            "context_weights": {
                weight: self._put(f"{name}-weight{index}.npz", arrays)
                for index, (weight, arrays) in enumerate(snapshot.learned().items())
            },
            "seen_events": self._write_seen_events(f"{name}-seen", snapshot, base.get("seen_events")),
        }

    def _write_seen_events(self, stem: str, state: StateSnapshot, old: Json | None) -> Json | None:
        snapshot = state.seen_events
        if snapshot is None:
            return None
        same = old["segments"] if old is not None and old["lineage"] == snapshot.lineage else []
        kept, ranges = manifests.plan_segments(same, snapshot.stop, snapshot.first)
        new = []
        for start, stop in ranges:
            arrays = files.seen_event_arrays(snapshot, start, stop)
            new.append(self._put(f"{stem}-{start}.npz", arrays, start, stop))
        return {
            "lineage": snapshot.lineage,
            "first": snapshot.first,
            "segments": [*kept, *new],
            "num_duplicates": state.num_duplicates,
            "num_changed": state.num_changed_duplicates,
        }

    def _write_edges(self, stem: str, snapshot: EdgesSnapshot, old: Json | None) -> Json:
        same = _kept_files(old["segments"]) if old is not None and old["lineage"] == snapshot.lineage else []
        kept, ranges = manifests.plan_segments(same, len(snapshot.edges))
        new = [
            self._put(f"{stem}-{start}.npz", files.edge_arrays(snapshot.edges, start, stop), start, stop)
            for start, stop in ranges
        ]
        return {"type": list(snapshot.edge_type), "lineage": snapshot.lineage, "segments": [*kept, *new]}

    def _write_nodes(self, stem: str, snapshot: NodesSnapshot, old: Json | None) -> Json:
        same = _kept_files(old["ids"]) if old is not None and old["ids_lineage"] == snapshot.ids_lineage else []
        kept, ranges = manifests.plan_segments(same, len(snapshot.ids.offsets) - 1)
        new = [
            self._put(f"{stem}-ids-{start}.npz", files.id_arrays(snapshot.ids, start, stop), start, stop)
            for start, stop in ranges
        ]
        attributes, mark = old and old["attributes"], snapshot.attributes.version
        if attributes is None or attributes["mark"] != mark or not _kept_files([attributes]):
            content = files.attributes_to_npz(snapshot.attributes)
            attributes = self._put(f"{stem}-attributes.npz", content) | {"mark": mark}
        lifetimes, content = old and old.get("lifetimes"), files.lifetimes_to_npz(snapshot.lifetimes)
        if not lifetimes or lifetimes["sha256"] != sha256(content):
            lifetimes = self._put(f"{stem}-lifetimes.npz", content)
        return {
            "type": snapshot.node_type,
            "ids_lineage": snapshot.ids_lineage,
            "ids": [*kept, *new],
            "attributes": attributes,
            "lifetimes": lifetimes,
        }

    def _put(self, file: str, content: bytes | files.Arrays, start: int = 0, stop: int = 0) -> Json:
        name = f"{SEGMENTS}/{file}"
        if isinstance(content, bytes):
            self._storage.write(name, content)
            digest = sha256(content)
        else:
            digest = self._storage.write_from(name, lambda sink: files.write_npz(sink, content))
        return {"file": file, "sha256": digest, "start": start, "stop": stop}

    def _prune(self, manifest: Json, earlier_names: Sequence[str]) -> None:
        kept = [manifest]
        for name in earlier_names:
            earlier = self._manifest_or_none(name) if len(kept) < self._keep else None
            if earlier is not None and earlier["num_forgotten"] == manifest["num_forgotten"]:
                kept.append(earlier)
            else:  # One too many, or it may hold a node that is forgotten now.
                self._storage.delete(f"{MANIFESTS}/{name}.json")
        in_use = {entry["file"] for body in kept for entry in manifests.file_entries(body)}
        for file in self._storage.list(SEGMENTS):
            if file not in in_use:
                self._storage.delete(f"{SEGMENTS}/{file}")
        for folder in (MANIFESTS, SEGMENTS):
            self._storage.delete_unfinished(folder)

    def _manifest_or_none(self, name: str) -> Json | None:
        try:
            return self.open(name).manifest
        except CheckpointError:
            return None  # A damaged checkpoint cannot be read, so its files need not stay.

    def _attributes(self, entry: Json, is_newest: bool) -> AttributesSnapshot:
        mark = entry["mark"] if is_newest else f"{uuid.uuid4().hex}:0"
        return files.attributes_from(entry["file"], self._content(entry), mark)

    def _contents(self, entries: Sequence[Json]) -> Iterator[bytes]:
        """Yield the files' contents; the next one is read and verified meanwhile, by another thread."""
        if not entries:
            return
        with ThreadPoolExecutor(1, thread_name_prefix="restore") as reader:
            coming = reader.submit(self._content, entries[0])
            for entry in entries[1:]:
                content, coming = coming.result(), reader.submit(self._content, entry)
                yield content
            yield coming.result()

    def _content(self, entry: Json) -> bytes:
        try:
            return self.read_file(entry)
        except CheckpointError as error:
            raise CheckpointError(f"{error} ({HINT})") from error


def _kept_files(entries: Sequence[Json]) -> Sequence[Json]:
    """Return the files if a new checkpoint may share them; those of earlier releases are written again, all of them."""
    return () if any(entry["file"].endswith(files.ARROW) for entry in entries) else entries


def _refuse_without_arrow(name: str) -> None:
    try:
        importlib.import_module("pyarrow")
    except ModuleNotFoundError as error:
        raise CheckpointError(f"checkpoint {name} is of an earlier release: {missing_words(error)}") from error


def _next_name(name: str) -> str:
    return f"{int(name) + 1:08d}"
