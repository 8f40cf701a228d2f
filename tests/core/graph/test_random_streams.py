"""The live graph against a naive one, step by step, in any order of steps."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from springtide.events.model import NodeDelete
from springtide.graph import GraphView, LiveGraph

EDGE_TYPES = [("user", "buys", "item"), ("user", "follows", "user"), ("item", "in", "shop")]
NODE_TYPES = ["user", "item", "shop"]
NAMES = [f"n{number}" for number in range(5)]
edges = st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES), st.integers(-20, 20), st.integers(1, 3))


class NaiveGraph:
    """Edges as tuples (source, target, time, weight) in order of arrival, by type."""

    def __init__(self, max_edges, max_age_ms):
        self.max_edges, self.max_age_ms = max_edges, max_age_ms
        self.edges = {edge_type: [] for edge_type in EDGE_TYPES}
        self.order = []  # Edge types in order of their first edge: of equal times, the first type's go first.
        self.newest = None

    def append(self, edge_type, new):
        self.newest = max([time for _, _, time, _ in new] + ([] if self.newest is None else [self.newest]))
        if edge_type not in self.order and any(self._is_young(edge) for edge in new):
            self.order.append(edge_type)
        self.edges[edge_type] += filter(self._is_young, new)

    def evict(self):
        every = []
        for edge_type in self.order:
            self.edges[edge_type] = list(filter(self._is_young, self.edges[edge_type]))
            every += [(edge_type, edge) for edge in self.edges[edge_type]]
        if self.max_edges is None or len(every) <= self.max_edges:
            return
        every = [
            every[at] for at in sorted(sorted(range(len(every)), key=lambda at: every[at][1][2])[-self.max_edges :])
        ]
        for edge_type in self.order:
            self.edges[edge_type] = [edge for its_type, edge in every if its_type == edge_type]

    def forget(self, node_type, name):
        for source_type, relation, target_type in EDGE_TYPES:
            self.edges[source_type, relation, target_type] = [
                edge
                for edge in self.edges[source_type, relation, target_type]
                if not (source_type == node_type and edge[0] == name)
                and not (target_type == node_type and edge[1] == name)
            ]

    def delete(self, node_type, name, time):
        for edge_type in EDGE_TYPES:
            ends = [end for end in (0, 1) if edge_type[2 * end] == node_type]
            self.edges[edge_type] = [
                edge for edge in self.edges[edge_type] if edge[2] > time or all(edge[end] != name for end in ends)
            ]

    def recent(self, edge_type, end, name, count, before):
        own = [edge for edge in self.edges[edge_type] if edge[end] == name and (before is None or edge[2] < before)]
        own = [own[at] for at in sorted(range(len(own)), key=lambda at: (own[at][2], at), reverse=True)]
        return [(edge[1 - end], edge[2], float(edge[3])) for edge in own[:count]]

    def copy(self):
        other = NaiveGraph(self.max_edges, self.max_age_ms)
        other.edges = {edge_type: list(its) for edge_type, its in self.edges.items()}
        return other

    def _is_young(self, edge):
        return self.max_age_ms is None or edge[2] >= self.newest - self.max_age_ms


def assert_same(view: GraphView, model: NaiveGraph, names_at: dict[str, list[str]]) -> None:
    """Compare all that a view can be asked; ``names_at`` gives each type's ids by row when the view was taken."""
    assert view.num_edges == sum(map(len, model.edges.values()))
    for edge_type, wanted in model.edges.items():
        its = view.edges(edge_type)
        sources, targets = names_at[edge_type[0]], names_at[edge_type[2]]
        got = [(sources[s], targets[t]) for s, t in zip(its.source.tolist(), its.target.tolist(), strict=True)]
        assert got == [edge[:2] for edge in wanted]
        assert its.timestamps_ms.tolist() == [edge[2] for edge in wanted]
        assert its.weights.tolist() == [edge[3] for edge in wanted]
        for end, own, others, recent in (
            (0, sources, targets, its.recent_targets),
            (1, targets, sources, its.recent_sources),
        ):
            for before in (None, 3):
                found = recent(np.arange(len(own) + 1), 4, before)
                for row, name in enumerate([*own, None]):
                    listed = [
                        (others[other], time, weight)
                        for other, time, weight in zip(
                            found.rows[row].tolist(),
                            found.timestamps_ms[row].tolist(),
                            found.weights[row].tolist(),
                            strict=True,
                        )
                        if other >= 0
                    ]
                    assert listed == (model.recent(edge_type, end, name, 4, before) if name else [])
        for row, name in enumerate(sources):
            assert len(its.all_targets(row)) == len(model.recent(edge_type, 0, name, 10**6, None) if name else [])
        if sources and targets:
            pairs = [(s, t) for s in range(len(sources)) for t in range(len(targets))]
            found = its.has([s for s, _ in pairs], [t for _, t in pairs])
            assert found.tolist() == [any(edge[:2] == (sources[s], targets[t]) for edge in wanted) for s, t in pairs]


class GraphMachine(RuleBasedStateMachine):
    @initialize(max_edges=st.sampled_from([None, 8, 20]), max_age_ms=st.sampled_from([None, 8, 25]))
    def begin(self, max_edges, max_age_ms):
        self.graph, self.model = LiveGraph(max_edges, max_age_ms), NaiveGraph(max_edges, max_age_ms)
        self.taken = []

    @rule(edge_type=st.sampled_from(EDGE_TYPES), new=st.lists(edges, min_size=1, max_size=12))
    def append(self, edge_type, new):
        self.graph.append(
            edge_type,
            self.graph.nodes(edge_type[0]).ids.intern([edge[0] for edge in new]),
            self.graph.nodes(edge_type[2]).ids.intern([edge[1] for edge in new]),
            [edge[2] for edge in new],
            [edge[3] for edge in new],
        )
        self.model.append(edge_type, new)
        if self.graph.max_edges is not None:
            assert self.graph.num_edges <= self.graph.max_edges + self.graph.max_edges // 8

    @rule(node_type=st.sampled_from(NODE_TYPES), name=st.sampled_from(NAMES))
    def forget(self, node_type, name):
        self.evict()  # Evicting before forgetting and after are not the same.
        is_known = self.graph.nodes(node_type).ids.row(name) >= 0
        assert self.graph.forget(node_type, name) == is_known
        self.model.forget(node_type, name)
        assert self.graph.nodes(node_type).ids.row(name) == -1

    @rule()
    def reuse_rows(self):
        for node_type in NODE_TYPES:
            table = self.graph.nodes(node_type)
            table.ids.release(table.take_forgotten())

    @rule(node_type=st.sampled_from(NODE_TYPES), name=st.sampled_from(NAMES), time=st.integers(-20, 20))
    def delete(self, node_type, name, time):
        """Deleting leaves what happened later; appending rows, unlike applying events, does not ask for deletions."""
        self.evict()
        table = self.graph.nodes(node_type)
        row = table.ids.row(name)
        heard_ms = table.lifetimes.newest_ms(row) if row >= 0 else None
        born_ms = table.lifetimes.deleted_ms(row)
        self.graph.delete([NodeDelete(node_type, name, time)])
        if row < 0 or time <= born_ms:
            return  # Unknown, or deleted until a later time before.
        self.model.delete(node_type, name, time)
        assert table.ids.row(name) == (row if heard_ms > time else -1)
        if heard_ms > time:
            assert table.lifetimes.born_ms(row) == time

    @rule()
    def sweep(self):
        """Dropping dead edges from the arrays changes nothing for anybody."""
        for edge_type in self.graph.edge_types:
            self.graph.store(edge_type).sweep()

    @rule()
    def evict(self):
        self.graph.evict()
        self.model.evict()

    @rule()
    def compare(self):
        self.evict()
        assert_same(self.graph.view(), self.model, self.names())

    @rule()
    def take_view(self):
        self.evict()
        self.taken.append((self.graph.view(), self.model.copy(), self.names()))

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def compare_an_old_view(self, data):
        assert_same(*data.draw(st.sampled_from(self.taken)))

    def names(self):
        return {node_type: self.graph.nodes(node_type).ids.all_ids() for node_type in NODE_TYPES}


GraphMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
test_graph_behaves_like_the_naive_one = GraphMachine.TestCase
