"""Filling an empty state from a checkpoint's files: two are read at a time, while what was read before is built."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from springtide.checkpoint import files
from springtide.checkpoint import manifest as manifests
from springtide.checkpoint.array_files import Arrays
from springtide.checkpoint.manifest import Checkpoint
from springtide.checkpoint.manifest_files import COUNTS_NAMES, Json
from springtide.checkpoint.other_settings import apply_settings
from springtide.errors import DamagedCheckpointError
from springtide.events.known_names import KnownNamesSnapshot
from springtide.graph.late_attributes import AttributesSnapshot
from springtide.graph.nodes import NodeTable
from springtide.packed_texts import PackedTexts, joined, pack
from springtide.state import LiveState

if TYPE_CHECKING:
    from springtide.plugins.contracts import ContextWeight  # It imports torch, which readers of a state need not load.

_NUM_READERS = 2  # They do nothing else, so that the disk never waits; more gained nothing.
_NUM_BUILDERS = 2


class _NodeFiles(NamedTuple):
    """The files of one type of nodes, on their way."""

    ids: list[Future[PackedTexts]]
    attributes: Future[AttributesSnapshot]
    lifetimes: Future[Arrays] | None


class Restoring:
    """One checkpoint that is restored into one state.

    Args:
        checkpoint: The checkpoint.
        state: An empty state.
        read_arrays: Returns the arrays of a file by its entry in the manifest; fills those that it is given.
        read_file: Returns a file's content.
        is_newest: Whether no checkpoint is newer: then this state continues its histories. From an older one new ones
            start, since later checkpoints have the old ones.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        state: LiveState,
        read_arrays: Callable[..., Arrays],
        read_file: Callable[[Json], bytes],
        *,
        is_newest: bool,
    ) -> None:
        self._checkpoint = checkpoint
        self._manifest = checkpoint.manifest
        self._state = state
        self._read_arrays = read_arrays
        self._read_file = read_file
        self._is_newest = is_newest
        self._has_first_times = True  # Those of earlier releases have none, and before 0.5 no newest ones either.

    def run(self) -> tuple[str, ...]:
        """Fill the state; return what was changed for settings that are not those it was written under, in words.

        Raises:
            DamagedCheckpointError: If a file is missing or damaged; the state is partly filled.
        """
        readers = ThreadPoolExecutor(_NUM_READERS, thread_name_prefix="restore-read")
        builders = ThreadPoolExecutor(_NUM_BUILDERS, thread_name_prefix="restore-build")
        sides = ThreadPoolExecutor(1, "restore-link"), ThreadPoolExecutor(1, "restore-link")
        try:
            return self._run(readers, builders, sides)
        finally:
            for executor in (readers, builders, *sides):
                executor.shutdown(cancel_futures=True)

    def _run(self, readers: Executor, builders: Executor, sides: tuple[Executor, Executor]) -> tuple[str, ...]:
        """Fill the state; nothing waits for what it can do without.

        Files are read in the order in which what is made of them takes long: nodes first, then edges, which are linked
        once they have come, then what was learned, which needs to know how the settings changed.
        """
        state, graph, manifest = self._state, self._state.graph, self._manifest
        tables = {saved["type"]: graph.nodes(saved["type"]) for saved in manifest["nodes"]}
        nodes = [
            builders.submit(self._restore_nodes, tables[saved["type"]], saved, self._read_nodes(saved, readers))
            for saved in sorted(manifest["nodes"], key=lambda saved: -_num_bytes(saved["attributes"]))
        ]
        edges = [self._read_edges(saved, readers) for saved in manifest["edges"]]
        learned = self._read_learned(readers)
        linking = [
            self._restore_edges(saved, coming, sides) for saved, coming in zip(manifest["edges"], edges, strict=True)
        ]
        if manifest.get("circumstances"):
            state.circumstances.restore(manifest["circumstances"])
        change = apply_settings(manifest, state)
        weights = [
            builders.submit(self._restore_weight, state.context_weights[name], arrays)
            for name, arrays in learned.items()
            if name not in change.to_learn_anew
        ]
        for linked in linking:
            linked()
        for restored in nodes:
            restored.result()
        if not self._has_first_times:
            self._note_times()
        if manifest.get("tombstones"):
            graph.tombstones.restore(files.tombstones_from(self._read_arrays(manifest["tombstones"])))
        graph.restore(manifest["version"], manifest["newest_ms"], manifest["num_forgotten"])
        num_evicted = graph.evict_if_far_past_bounds()  # They may be lower than they were.
        state.position, state.num_events = self._checkpoint.position, self._checkpoint.num_events
        state.clock.note_behind(self._checkpoint.behind_ms)
        state.gaps = manifests.gaps_from_json(manifest.get("gaps", ()))
        state.left_out = manifests.left_out_from_json(manifest.get("left_out", ()))
        self._restore_seen_events()
        self._restore_known_names()
        self._restore_tallies()
        for name, weight in state.context_weights.items():
            if name not in learned or name in change.to_learn_anew:
                weight.observe(state.positive_interactions(graph.view()))
        for restored in weights:
            restored.result()
        state.reclaim_restored()
        evicted = (f"{num_evicted:,} edges dropped that are beyond the bounds of [graph]",) if num_evicted else ()
        return change.applied + evicted

    def _read_learned(self, readers: Executor) -> dict[str, Future[Arrays]]:
        """Begin to read what the context weights had learned, the largest first."""
        entries: dict[str, Json] = self._manifest["context_weights"]
        wanted = [name for name in self._state.context_weights if name in entries]
        largest_first = sorted(wanted, key=lambda name: -_num_bytes(entries[name]))
        return {name: readers.submit(self._read_arrays, entries[name]) for name in largest_first}

    def _read_nodes(self, saved: Json, readers: Executor) -> _NodeFiles:
        """Begin to read the files of one type of nodes."""
        ids = [readers.submit(self._ids, entry) for entry in saved["ids"]]
        attributes = readers.submit(self._attributes, saved["attributes"])
        # Checkpoints before 0.5 have no lifetimes.
        lifetimes = readers.submit(self._read_arrays, saved["lifetimes"]) if "lifetimes" in saved else None
        return _NodeFiles(ids, attributes, lifetimes)

    def _restore_nodes(self, table: NodeTable, saved: Json, coming: _NodeFiles) -> None:
        ids = joined([part.result() for part in coming.ids])
        table.restore(ids, self._lineage(saved["ids_lineage"]), coming.attributes.result())
        if coming.lifetimes is not None:
            lifetimes = files.lifetimes_from(coming.lifetimes.result())
            table.lifetimes.restore(lifetimes)
        if coming.lifetimes is None or lifetimes.first_ms is None:
            self._has_first_times = False

    def _attributes(self, entry: Json) -> AttributesSnapshot:
        mark = entry["mark"] if self._is_newest else f"{uuid.uuid4().hex}:0"
        if entry["file"].endswith(files.ARROW):
            from springtide.checkpoint.arrow_files import attributes_from_arrow

            return attributes_from_arrow(self._read_file(entry), mark)
        return files.attributes_from(self._read_arrays(entry), mark)

    def _ids(self, entry: Json) -> PackedTexts:
        if entry["file"].endswith(files.ARROW):
            from springtide.checkpoint.arrow_files import ids_from_arrow

            return pack(ids_from_arrow(self._read_file(entry)))
        return PackedTexts(**self._read_arrays(entry))

    def _read_edges(self, saved: Json, readers: Executor) -> list[Future[Arrays]]:
        """Make room for edges of one type, and begin to read them there."""
        source_type, relation, target_type = saved["type"]
        store = self._state.graph.store((source_type, relation, target_type))
        entries: Sequence[Json] = saved["segments"]
        if not entries or any(entry["file"].endswith(files.ARROW) for entry in entries):
            return []
        num_rows = self._num_rows()
        columns = store.open(max(entry["stop"] for entry in entries), num_rows[source_type], num_rows[target_type])
        coming = []
        for entry in entries:
            part = slice(entry["start"], entry["stop"])
            into = {
                "source": columns.source[part],
                "target": columns.target[part],
                "timestamp_ms": columns.timestamps_ms[part],
            }
            coming.append(readers.submit(partial(self._read_arrays, entry, into)))
        return coming

    def _restore_edges(
        self, saved: Json, coming: Sequence[Future[Arrays]], sides: tuple[Executor, Executor]
    ) -> Callable[[], None]:
        """Take in the edges of one type as they come, and begin to link them; return what waits for that."""
        source_type, relation, target_type = saved["type"]
        store = self._state.graph.store((source_type, relation, target_type))
        entries: Sequence[Json] = saved["segments"]
        if entries and not coming:
            from springtide.checkpoint.arrow_files import edges_from_arrow

            num_edges = max(entry["stop"] for entry in entries)
            for entry in entries:
                store.append(*edges_from_arrow(self._read_file(entry)), num_expected=num_edges)
        linking = []
        for entry, arrays in zip(entries, coming, strict=False):
            found = arrays.result()
            with _refusing(entry):
                linking.append(store.take_in(entry["stop"], found["weight"], found.get("features"), sides))
        if self._is_newest:
            store.lineage = saved["lineage"]

        def wait() -> None:
            for entry, both in zip(entries, linking, strict=False):
                with _refusing(entry):
                    store.num_steps += sum(side.result() for side in both)

        return wait

    def _num_rows(self) -> dict[str, int]:
        """Return the number of rows of each node type."""
        return {
            saved["type"]: max((entry["stop"] for entry in saved["ids"]), default=0)
            for saved in self._manifest["nodes"]
        }

    def _note_times(self) -> None:
        """Note when nodes were heard of, as far as the edges tell."""
        graph = self._state.graph
        for edge_type in graph.edge_types:
            store = graph.store(edge_type)
            columns, length = store.columns, store.length
            if length:
                columns_so_far = (columns.source[:length], columns.target[:length], columns.timestamps_ms[:length])
                graph.note_times(edge_type, *columns_so_far)

    def _restore_seen_events(self) -> None:
        saved, seen_events = self._manifest.get("seen_events"), self._state.seen_events
        if saved is None:  # No event had an id, or the checkpoint is older than the window.
            return
        parts = [self._read_arrays(entry) for entry in saved["segments"]]
        start = saved["segments"][0]["start"]
        seen_events.restore(files.seen_events_from(parts, self._lineage(saved["lineage"]), start, saved["first"]))
        seen_events.num_duplicates, seen_events.num_changed = saved["num_duplicates"], saved["num_changed"]

    def _restore_tallies(self) -> None:
        if (saved := self._manifest.get("tallies")) is not None:  # Checkpoints before format 7 have none.
            arrays = self._read_arrays(saved)
            try:
                self._state.tallies.restore(arrays)
            except (KeyError, ValueError) as error:
                fault = f"{saved['file']}: damaged: no tallies of experiments: {error}"
                raise DamagedCheckpointError(fault, saved["file"]) from error
            self._state.tallies.num_left_out = saved["num_left_out"]

    def _restore_known_names(self) -> None:
        names, graph = self._state.known_names, self._state.graph
        if saved := self._manifest.get("known_names"):
            names.restore(KnownNamesSnapshot.of(self._read_arrays(saved)))
        elif self._manifest["format"] < COUNTS_NAMES:
            for node_type in graph.node_types:
                names.know(node_type, graph.nodes(node_type).attribute_names())
            for edge_type in graph.edge_types:
                names.know_relation(*edge_type)

    def _restore_weight(self, weight: "ContextWeight", coming: Future[Arrays]) -> None:
        weight.restore(coming.result())

    def _lineage(self, saved: str) -> str:
        return saved if self._is_newest else uuid.uuid4().hex


@contextmanager
def _refusing(entry: Json) -> Iterator[None]:
    """Raise DamagedCheckpointError where the arrays of a file are no edges that are possible."""
    try:
        yield
    except ValueError as error:
        fault = f"{entry['file']}: damaged: no edges of this checkpoint: {error}"
        raise DamagedCheckpointError(fault, entry["file"]) from error


def _num_bytes(entry: Json) -> int:
    num_bytes: int = entry.get("num_bytes", 0)  # Earlier releases did not note it.
    return num_bytes
