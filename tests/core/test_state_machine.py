"""The live state against a naive one, through all that happens to it: events, restarts, damage, other writers."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from springtide.checkpoint import CheckpointLock, CheckpointStore
from springtide.checkpoint.fallback import restore_newest
from springtide.errors import CheckpointLockedError, CheckpointLockLostError
from springtide.events.model import EventBatch, Interactions, NodeDelete, NodeUpsert, Relation
from springtide.graph import GraphView
from springtide.plugins.loading import load_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import PluginSettings, Settings
from springtide.state import LiveState
from springtide.testing import START_MS, state_content

PLUGINS = load_plugins(PluginSettings())
WEIGHTS = {"purchase": 1.0, "view": 0.1, "dislike": 1.0}
EDGE_TYPES = [*(("user", relation, "item") for relation in WEIGHTS), ("item", "in", "shop"), ("user", "knows", "user")]
STEP_MS = 1_000_000  # Names and times are few, so that events meet; upserts have times of their own.

users, items, shops = (st.sampled_from([f"{letter}{number}" for number in range(2)]) for letter in "uis")
nodes = st.one_of(*(st.tuples(st.just(kind), ids) for kind, ids in (("user", users), ("item", items), ("shop", shops))))
times = st.integers(-2, 2).map(lambda step: START_MS + step * STEP_MS)
interactions = st.tuples(users, items, st.sampled_from(list(WEIGHTS)), times)
relations = st.one_of(
    st.builds(lambda *each: Relation("item", each[0], "in", "shop", each[1], each[2], 2.0), items, shops, times),
    st.builds(lambda *each: Relation("user", each[0], "knows", "user", each[1], each[2]), users, users, times),
)
attributes = st.fixed_dictionaries(
    {},
    optional={
        "tag": st.sampled_from([(), ("x",), ("y", "x")]),
        "price": st.sampled_from([1.0, 2.5]),
        "title": st.sampled_from(["long", "longer"]),
    },
)


class NaiveState:
    """Events applied one by one to tuples and dictionaries; nothing is shared with the real one.

    Edges are (source, target, time, weight) in order of arrival, by type. A node has the time when it was last heard
    of, and its attributes with their times.
    """

    def __init__(self, max_edges: int | None, max_age_ms: int | None) -> None:
        self.max_edges, self.max_age_ms = max_edges, max_age_ms
        self.edges = {edge_type: [] for edge_type in EDGE_TYPES}
        self.order = []  # Edge types in order of their first edge: of equal times, the first type's go first.
        self.newest = None
        self.deleted = {}
        self.attributes = {}  # By node, (time, value) by name.

    def apply(self, batch: EventBatch) -> None:
        for delete in batch.deletes:
            self.delete((delete.node_type, delete.node_id), delete.timestamp_ms)
        for upsert in batch.upserts:
            self.upsert((upsert.node_type, upsert.node_id), upsert)
        by_type: dict[object, list[object]] = {}
        for each in batch.relations:
            edge_type = each.source_type, each.relation, each.target_type
            edge = each.source_id, each.target_id, each.timestamp_ms, each.weight
            by_type.setdefault(edge_type, []).append(edge)
        of_all = batch.interactions
        for code, relation in enumerate(of_all.relations):
            for at in np.flatnonzero(of_all.relation_codes == code):
                user, item = of_all.user_ids[of_all.user_codes[at]], of_all.item_ids[of_all.item_codes[at]]
                edge = user, item, int(of_all.timestamps_ms[at]), WEIGHTS[relation]
                by_type.setdefault(("user", relation, "item"), []).append(edge)
        for edge_type, edges in by_type.items():
            self.append(edge_type, edges)
        self.evict()

    def delete(self, node, time):
        if time <= self.deleted.get(node, time - 1):
            return
        self.deleted[node] = time
        for edge_type in EDGE_TYPES:
            ends = [end for end in (0, 1) if edge_type[2 * end] == node[0]]
            self.edges[edge_type] = [
                edge for edge in self.edges[edge_type] if edge[2] > time or all(edge[end] != node[1] for end in ends)
            ]
        own = self.attributes.get(node, {})
        self.attributes[node] = {name: (when, value) for name, (when, value) in own.items() if when > time}

    def upsert(self, node, upsert):
        if upsert.timestamp_ms <= self.deleted.get(node, upsert.timestamp_ms - 1):
            return
        own = self.attributes.setdefault(node, {})
        for name, value in (*upsert.categories.items(), *upsert.numbers.items(), *upsert.texts.items()):
            if name not in own or upsert.timestamp_ms > own[name][0]:
                own[name] = upsert.timestamp_ms, value

    def append(self, edge_type, edges):
        newest = max(edge[2] for edge in edges)
        self.newest = newest if self.newest is None else max(newest, self.newest)
        living = [
            edge
            for edge in edges
            if all(edge[2] > self.deleted.get((edge_type[2 * end], edge[end]), edge[2] - 1) for end in (0, 1))
        ]
        if edge_type not in self.order and any(map(self.is_young, living)):
            self.order.append(edge_type)
        self.edges[edge_type] += living

    def evict(self):
        every = [(edge_type, edge) for edge_type in self.order for edge in filter(self.is_young, self.edges[edge_type])]
        if self.max_edges is not None:
            newest = sorted(range(len(every)), key=lambda at: every[at][1][2])[-self.max_edges :]
            every = [every[at] for at in sorted(newest)]
        for edge_type in EDGE_TYPES:
            self.edges[edge_type] = [edge for its_type, edge in every if its_type == edge_type]

    def is_young(self, edge):
        return self.max_age_ms is None or edge[2] >= self.newest - self.max_age_ms

    def recent(self, edge_type, name, count):
        own = [edge for edge in self.edges[edge_type] if edge[0] == name]
        own = [own[at] for at in sorted(range(len(own)), key=lambda at: (own[at][2], at), reverse=True)]
        return [(edge[1], edge[2]) for edge in own[:count]]

    def content(self):
        """Return the edges by type, and the attributes that have a value by node."""
        own = {
            node: {name: value for name, (_, value) in each.items() if value != ()}
            for node, each in self.attributes.items()
        }
        return {edge_type: list(each) for edge_type, each in self.edges.items()}, {
            node: each for node, each in own.items() if each
        }


def content_of(view: GraphView, names_at):
    """Return what ``NaiveState.content`` returns; ``names_at`` gives each type's ids by row when the view was taken."""
    edges = {}
    for edge_type in EDGE_TYPES:
        its = view.edges(edge_type)
        sources, targets = names_at.get(edge_type[0], []), names_at.get(edge_type[2], [])
        columns = its.source.tolist(), its.target.tolist(), its.timestamps_ms.tolist(), its.weights.tolist()
        edges[edge_type] = [
            (sources[source], targets[target], time, pytest.approx(weight))
            for source, target, time, weight in zip(*columns, strict=True)
        ]
    return edges


def attributes_of(view: GraphView):
    found = {}
    for node_type in view.node_types:
        table = view.nodes(node_type)
        for row, name in enumerate(table.ids.all_ids()):
            own = {attribute: tuple(column.values(row)) for attribute, column in table.categories.items()}
            own |= table.number_values(row)
            own |= {"title": table.text("title", row)}
            if name and (own := {attribute: value for attribute, value in own.items() if value}):
                found[node_type, name] = own
    return found


def names_of(state: LiveState):
    return {node_type: state.graph.nodes(node_type).ids.all_ids() for node_type in state.graph.node_types}


def assert_same(state: LiveState, naive: NaiveState) -> None:
    """Compare all that the graph and its deletions can be asked."""
    view = state.graph.view()
    edges, attributes = naive.content()
    assert content_of(view, names_of(state)) == edges
    own = attributes_of(view)
    for each in (own, attributes):
        for values in each.values():
            if "tag" in values:
                values["tag"] = tuple(sorted(values["tag"]))
    assert own == attributes
    for edge_type in EDGE_TYPES:
        sources, targets = state.graph.nodes(edge_type[0]), state.graph.nodes(edge_type[2]).ids.all_ids()
        found = view.edges(edge_type).recent_targets(np.arange(len(sources)), 3)
        for row, name in enumerate(sources.ids.all_ids()):
            latest = zip(found.rows[row].tolist(), found.timestamps_ms[row].tolist(), strict=True)
            got = [(targets[target], time) for target, time in latest if target >= 0]
            assert got == (naive.recent(edge_type, name, 3) if name else [])
    for (node_type, name), time in naive.deleted.items():
        assert state.graph.deleted_ms(node_type, [name])[1].tolist() == [time]


def columns_of(several) -> Interactions:
    """Return interactions as columns."""

    def coded(values, kind=np.int32):
        distinct = list(dict.fromkeys(values))
        return distinct, np.array([distinct.index(value) for value in values], kind)

    users_of, items_of, relations_of, times_of = ([each[at] for each in several] for at in range(4))
    return Interactions(
        *(*coded(users_of), *coded(items_of), *coded(relations_of, np.int16), np.array(times_of, np.int64)),
        np.full(len(several), np.nan, np.float32),
    )


class StateMachine(RuleBasedStateMachine):
    """Steps in any order; after each comparison the real state is the naive one."""

    @initialize(
        max_edges=st.sampled_from([None, None, 9]),
        max_age_ms=st.sampled_from([None, None, 2 * STEP_MS]),
    )
    def begin(self, max_edges, max_age_ms):
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.copier = ThreadPoolExecutor(1)
        self.bounds = max_edges, max_age_ms
        self.settings = Settings.model_validate(
            {
                "interactions": {"purchase": {}, "view": {"weight": 0.1}, "dislike": {"positive": False}},
                "graph": {
                    **({} if max_edges is None else {"max_edges": max_edges}),
                    **({} if max_age_ms is None else {"max_age_days": max_age_ms / 86_400_000}),
                    "keep_deletions_days": None,
                },
            }
        )
        self.log, self.at = [], {}  # All batches; and how many of them each checkpoint has, by its name.
        self.naive, self.state = NaiveState(*self.bounds), self.new_state()
        self.lock, self.store = None, None
        self.open_store()
        self.pending, self.taken = None, []
        self.num_upserts, self.seconds = 0, 0.0

    def teardown(self):
        if hasattr(self, "folder"):
            self.compare()
            if self.bounds == (None, None):
                self.content_is_that_of_one_go()
            self.lock.release()
            self.copier.shutdown()
            self.folder.cleanup()

    def new_state(self) -> LiveState:
        return LiveState(self.settings, make_context_weights(self.settings.ranking, PLUGINS))

    def open_store(self) -> None:
        self.lock = CheckpointLock(self.folder.name)
        self.lock.acquire()
        self.store = CheckpointStore(self.folder.name, keep=2, lock=self.lock)

    def apply_to(self, state: LiveState, batch: EventBatch) -> None:
        state.apply(batch)
        state.graph.evict()  # ``apply`` evicts now and then; at once, as the naive one does, is easier to compare.

    @rule(
        several=st.lists(interactions, max_size=6),
        related=st.lists(relations, max_size=2),
        deletes=st.lists(st.tuples(nodes, times), max_size=3),
        upserts=st.lists(st.tuples(nodes, times, attributes), max_size=4),
    )
    def apply(self, several, related, deletes, upserts):
        made = []
        for (node_type, name), time, own in upserts:
            self.num_upserts += 1
            texts = {key: value for key, value in own.items() if isinstance(value, str)}
            numbers = {key: value for key, value in own.items() if isinstance(value, float)}
            categories = {key: value for key, value in own.items() if isinstance(value, tuple)}
            made.append(NodeUpsert(node_type, name, categories, numbers, texts, time + self.num_upserts))
        batch = EventBatch(columns_of(several), made, related, [NodeDelete(*node, time) for node, time in deletes])
        self.log.append(batch)
        self.apply_to(self.state, batch)
        self.naive.apply(batch)
        self.compare()

    @rule(turns=st.integers(1, 3))
    def reclaim(self, turns):
        """Rows of forgotten nodes rest, are forgotten by what learned, rest again, and go to other nodes."""
        for _ in range(turns):
            self.seconds += 100
            self.state.reclaim(self.seconds)

    @rule()
    def sweep(self):
        for edge_type in self.state.graph.edge_types:
            self.state.graph.store(edge_type).sweep()

    def compare(self):
        assert_same(self.state, self.naive)

    @rule()
    def take_view(self):
        self.taken.append((self.state.graph.view(), names_of(self.state), self.naive.content()[0]))

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def compare_an_old_view(self, data):
        view, names_at, edges = data.draw(st.sampled_from(self.taken))
        assert content_of(view, names_at) == edges

    @precondition(lambda self: self.pending is None)
    @rule()
    def begin_checkpoint(self):
        """Events go on while it is copied."""
        self.pending = self.state.snapshot(self.copier), len(self.log)

    @precondition(lambda self: self.pending is not None)
    @rule()
    def finish_checkpoint(self):
        snapshot, num_batches = self.pending
        self.pending = None
        self.at[self.store.write(snapshot).name] = num_batches

    @rule()
    def checkpoint(self):
        if self.pending is not None:
            self.finish_checkpoint()
        self.begin_checkpoint()
        self.finish_checkpoint()

    @rule()
    def restart(self):
        """Go on from the newest checkpoint that is whole, and read what came after it again."""
        self.pending = None
        self.lock.release()
        self.open_store()
        restored = restore_newest(self.store, self.new_state, sets_aside=True)
        self.state = restored.state
        self.state.reclaim_restored()
        for batch in self.log[0 if restored.checkpoint is None else self.at[restored.checkpoint.name] :]:
            self.apply_to(self.state, batch)
        self.compare()

    @precondition(lambda self: self.at)
    @rule(data=st.data())
    def damage_and_restart(self, data):
        files = sorted(path for path in Path(self.folder.name).rglob("*") if path.is_file() and path.stat().st_size > 9)
        files = [path for path in files if not path.name.startswith("writer.")]
        path = data.draw(st.sampled_from(files))
        content = bytearray(path.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(content)
        self.restart()

    @rule()
    def second_writer_is_refused(self):
        with pytest.raises(CheckpointLockedError):
            CheckpointLock(self.folder.name).acquire()

    @rule()
    def late_writer_writes_nothing(self):
        """Another process took over while this one was away; it must not write what it still has."""
        late = self.store
        self.restart()
        before = self.store.names()
        with pytest.raises(CheckpointLockLostError):
            late.write(self.state.snapshot())
        assert self.store.names() == before

    @rule()
    def compact_a_copy(self):
        """A training numbers the rows of a copy anew; its edges and attributes are the same."""
        self.checkpoint()
        copy = self.new_state()
        self.store.restore(self.store.latest(), copy)
        copy.compact()
        naive_edges, attributes = self.naive.content()
        assert content_of(copy.graph.view(), names_of(copy)) == naive_edges
        assert attributes_of(copy.graph.view()).keys() == attributes.keys()

    @precondition(lambda self: self.bounds == (None, None))
    @rule()
    def content_is_that_of_one_go(self):
        """What the context weights learned is what they learn from the log without restarts."""
        one_go = self.new_state()
        for batch in self.log:
            self.apply_to(one_go, batch)
        assert state_content(self.state) == state_content(one_go)


StateMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
test_state_behaves_like_the_naive_one = StateMachine.TestCase
