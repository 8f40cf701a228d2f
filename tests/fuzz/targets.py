"""What is fuzzed: each target takes any bytes, and says how that ended; what should not happen is raised.

Files that carry a checksum get the right one after each change, so that the readers behind it are reached.
"""

import json
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import json_format

from springtide.checkpoint import CheckpointStore
from springtide.checkpoint.manifest_files import from_bytes, to_bytes
from springtide.checksums import CRC32C, SHA256, checksum
from springtide.errors import CheckpointError, ModelError, PluginError, SettingsError
from springtide.events import RawEvent
from springtide.events.attribute_kinds import AttributeKindCheck
from springtide.events.decoding import Decoder
from springtide.events.model import EventBatch, NodeDelete, NodeUpsert
from springtide.interactions import Moment
from springtide.model.registry import ModelStore
from springtide.plugins.loading import load_plugins, load_serving_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_baseline import load_served
from springtide.ranking.weights import make_context_weights
from springtide.settings.load import load_settings
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.testing import START_MS, even_odd_state, interactions_of, quick_model, quick_settings
from springtide.v1 import events_pb2
from springtide_services.stream import journal

Run = Callable[[bytes], str]

NOW_MS = START_MS + 400 * 86_400_000
_JSON_HEADERS = (("content-type", b"application/json"),)
_BATCHES_PER_STATE = 2_000  # Then a new one: a state grows with what it is given.


@dataclass(frozen=True)
class Target:
    """Something that is given bytes.

    Attributes:
        run: Takes the bytes, and returns what became of them in words; raises what should not happen.
        seeds: Inputs to begin with.
        close: Ends what it has started.
    """

    run: Run
    seeds: Sequence[bytes]
    close: Callable[[], None] = lambda: None


def events_target() -> Target:
    """Records of the events' topic: single events, packed batches, or noise."""
    return Target(Stream(()).run, [event.SerializeToString() for event in example_events()])


def json_target() -> Target:
    """Records of JSON."""
    return Target(Stream(_JSON_HEADERS).run, [json_format.MessageToJson(event).encode() for event in example_events()])


class Stream:
    """A decoder and a state behind it; a good event that stands after the bytes must always be applied."""

    def __init__(self, headers: Sequence[tuple[str, bytes]]) -> None:
        self._headers = headers
        self._settings = Settings.model_validate({"graph": {"max_edges": 500, "max_nodes": 500}})
        self._plugins = load_serving_plugins(self._settings)
        self._good = example_events()[0].SerializeToString()
        self._begin()

    def _begin(self) -> None:
        settings = self._settings
        self._state = LiveState(settings, make_context_weights(settings.ranking, self._plugins))
        kinds = AttributeKindCheck(settings.attributes, self._state.settled_kind, self._state.settled_length)
        self._decoder = Decoder(settings.interaction_rules(), settings.events, kinds)
        self._num_batches = 0

    def run(self, data: bytes) -> str:
        if self._num_batches == _BATCHES_PER_STATE:
            self._begin()
        self._num_batches += 1
        records = [RawEvent(data, headers=self._headers), RawEvent(self._good)]
        batches, refusals = self._decoder.decode(records, NOW_MS)
        num_before = self._state.num_events
        for batch in batches:
            self._state.apply(batch)
        assert self._state.num_events > num_before, "a good event was lost with what stood before it"
        assert all(refusal.record.value == data for refusal in refusals), "a good event was refused"
        self._state.reclaim(float(self._num_batches))
        return f"dead letter: {refusals[0].reason}" if refusals else "applied"


def example_events() -> list[events_pb2.Event]:
    """Return an event of each kind; the first is an ordinary interaction."""
    purchase = {"user": "ann", "item": "bread", "type": "purchase", "value": 2.0, "context": {"place": "York"}}
    relation = {"source_type": "item", "source_id": "bread", "relation": "sold_in", "target_type": "shop"}
    upsert = {"type": "item", "id": "bread", "numbers": {"price": 1.5}, "texts": {"title": "Bread"}}
    batch = {"dictionary": ["purchase", "ann", "bob", "bread"], "users": [1, 2], "items": [3, 3], "types": [0]}
    bodies: list[dict[str, Any]] = [
        {"interaction": purchase},
        {"interaction": purchase, "event_id": "e1"},
        {"node_upsert": {**upsert, "categories": {"department": {"values": ["BAKERY", "FRESH"]}}}},
        {"node_upsert": {**upsert, "vectors": {"image": {"values": [0.5, -1.0]}}}},
        {"relation": {**relation, "target_id": "1", "weight": 2.0}},
        {"node_delete": {"type": "user", "id": "ann"}},
        {"batch": {**batch, "event_times_ms": [START_MS, 1]}},
    ]
    events = [events_pb2.Event(**body) for body in bodies]
    for event in events[:-1]:
        event.event_time.FromMilliseconds(START_MS)
    return events


def settings_target() -> Target:
    """A settings file."""
    folder = Path(tempfile.mkdtemp(prefix="springtide-fuzz-"))
    path = folder / "springtide.toml"

    def run(data: bytes) -> str:
        path.write_bytes(data)
        try:
            load_settings(path)
        except SettingsError:
            return "clear error"
        return "settings"

    seeds = [
        b'[kafka]\nbootstrap_servers = "localhost:9092"\n[kafka.client_options]\nrequest_timeout_ms = 30000\n',
        b'[interactions]\npurchase = {}\nrating = {weight = 2.0, positive = true}\n"rating>=4" = {}\n',
        b'[model]\nwidth = 64\nencoder = "lightgcn"\n[model.loss]\nname = "bpr"\n[training]\nsteps = 10\n',
        b'[ranking]\nclock = "stream"\n[ranking.context_weights]\npopularity = {}\n[server]\nport = 50051\n',
        b'[attributes.item]\nprice = "number"\n[graph]\nmax_edges = 1000\nmax_age_days = 3.5\n[plugins]\nallow = []\n',
    ]
    return Target(run, seeds, lambda: shutil.rmtree(folder))


class Files(ABC):
    """Stored files; the first byte of an input chooses one, and the rest takes its place while they are read."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="springtide-fuzz-"))
        self._contents: dict[Path, bytes] = {}

    def target(self) -> Target:
        seeds = [bytes([number]) + content for number, content in enumerate(self._contents.values())]
        return Target(self.run, seeds, self.close)

    def run(self, data: bytes) -> str:
        if not data:
            return "nothing"
        path = list(self._contents)[data[0] % len(self._contents)]
        path.write_bytes(data[1:])
        try:
            self._seal(path, data[1:])
            return self._read()
        finally:
            for each, original in self._contents.items():
                each.write_bytes(original)

    def close(self) -> None:
        shutil.rmtree(self._folder)

    @abstractmethod
    def _seal(self, path: Path, content: bytes) -> None:
        """Give the right checksums to a file that was replaced."""

    @abstractmethod
    def _read(self) -> str:
        """Read the files as a server does, and use what they hold."""


def checkpoint_target() -> Target:
    """A file of a checkpoint."""
    return CheckpointFiles().target()


class CheckpointFiles(Files):
    """A small checkpoint with something of everything."""

    def __init__(self) -> None:
        super().__init__()
        self._settings = Settings()
        self._plugins = load_serving_plugins(self._settings)
        state = even_odd_state(6, self._settings, self._plugins)
        upsert = NodeUpsert("item", "i1", {"tag": ("x", "y")}, {"price": 1.5}, {"title": "long"}, START_MS)
        state.apply(EventBatch(interactions_of(()), [upsert], deletes=[NodeDelete("user", "u1", START_MS + 10**9)]))
        self._name = CheckpointStore(str(self._folder)).write(state.snapshot()).name
        self._manifest_path = self._folder / "manifests" / f"{self._name}.json"
        self._manifest_bytes = self._manifest_path.read_bytes()
        self._manifest = from_bytes(self._manifest_bytes, "")
        paths = sorted(path for path in (self._folder / "segments").iterdir())
        self._contents = {path: path.read_bytes() for path in [self._manifest_path, *paths]}

    def _seal(self, path: Path, content: bytes) -> None:
        if path != self._manifest_path:
            self._manifest_path.write_bytes(to_bytes(_with_sum(self._manifest, path.name, content)))
        elif content != self._manifest_bytes:
            self._manifest_path.write_bytes(_with_own_sum(content))

    def _read(self) -> str:
        store = CheckpointStore(str(self._folder))
        state = LiveState(self._settings, make_context_weights(self._settings.ranking, self._plugins))
        try:
            store.restore(store.open(self._name), state)
        except CheckpointError:
            return "clear error"
        use(state)
        return "restored"


def use(state: LiveState) -> None:
    """Do with a state what a server does: events come, requests are answered, a checkpoint is written."""
    purchase = events_pb2.Event(interaction={"user": "u0", "item": "i3", "type": "purchase"})
    purchase.event_time.FromMilliseconds(NOW_MS)
    decoder = Decoder(state.rules, Settings().events)
    for batch in decoder.decode([RawEvent(purchase.SerializeToString())], NOW_MS)[0]:
        state.apply(batch)
    view = state.graph.view()
    for edge_type in view.edge_types:
        view.edges(edge_type).recent_targets(np.arange(4), 5)
    ranker = Ranker(state, Settings().ranking)
    ranker.recommend([Query(Moment(NOW_MS), user, count=3) for user in ("u0", "u5", "")])
    state.snapshot()


def model_target() -> Target:
    """A file of a model version."""
    return ModelFiles().target()


class ModelFiles(Files):
    """A small model."""

    def __init__(self) -> None:
        super().__init__()
        settings = quick_settings()
        self._plugins = load_plugins(settings.plugins)
        self._state = even_odd_state(12, settings, self._plugins)
        self._ranker = Ranker(self._state, settings.ranking)
        artifact = quick_model(self._state, quick_settings(training={"steps": 5}), self._plugins)
        self._version = self._store().publish(artifact)
        self._contents = {
            path: path.read_bytes() for path in sorted((self._folder / self._version).iterdir()) if path.is_file()
        }
        self._manifest_path = self._folder / self._version / "manifest.json"

    def _store(self) -> ModelStore:
        return ModelStore(str(self._folder))

    def close(self) -> None:
        self._ranker.close()
        super().close()

    def _seal(self, path: Path, content: bytes) -> None:
        manifest = content if path == self._manifest_path else self._contents[self._manifest_path]
        if path not in (self._manifest_path, self._sum_path):
            whole = json.loads(manifest)
            whole["files"][path.name] = _sum(SHA256, content)
            manifest = json.dumps(whole).encode()
            self._manifest_path.write_bytes(manifest)
        if path != self._sum_path:
            self._sum_path.write_bytes(_sum(SHA256, manifest).encode())

    @property
    def _sum_path(self) -> Path:
        return self._folder / self._version / "manifest.sha256"

    def _read(self) -> str:
        try:
            served = load_served(self._store().load(self._version), self._plugins)
        except (ModelError, PluginError):
            return "clear error"
        self._ranker.swap(served)
        self._ranker.recommend([Query(Moment(NOW_MS), user, count=3) for user in ("u0", "u5", "new", "")])
        return "served"


def journal_target() -> Target:
    """The body of a frame of the journal, whose checksum is right."""
    records = [
        RawEvent(event.SerializeToString(), b"key", _JSON_HEADERS if number % 2 else (), "events", 0, number, START_MS)
        for number, event in enumerate(example_events())
    ]
    body = journal._frame_of("topic-id", records)[journal._FRAME.size :]

    def run(data: bytes) -> str:
        head = journal._FRAME.pack(journal._MARK, int(_sum(CRC32C, data), 16), len(data))
        (entry, _, _), *others = journal.entries_in(memoryview(head + data))
        assert not others, "one frame gave several entries"
        return "damaged" if entry is None else "records"

    return Target(run, [body])


def _sum(kind: str, content: bytes) -> str:
    found = checksum(kind)
    found.update(content)
    return found.hexdigest()


def _with_sum(manifest: Any, name: str, content: bytes) -> Any:
    """Return a manifest in which a file has the checksum of other content."""
    if isinstance(manifest, dict):
        changed = {key: _with_sum(value, name, content) for key, value in manifest.items()}
        if changed.get("file") == name:
            changed |= {CRC32C: _sum(CRC32C, content), "file_bytes": len(content)}
        return changed
    if isinstance(manifest, list):
        return [_with_sum(each, name, content) for each in manifest]
    return manifest


def _with_own_sum(content: bytes) -> bytes:
    """Return a manifest with the right checksum of its own, if it is JSON; else as it is."""
    try:
        return to_bytes(json.loads(content)["checkpoint"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return content
