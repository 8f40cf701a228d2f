"""The serving halves of the encoders.

They take the same options. ``fanout`` concerns the training alone; shapes and names of the weights say what the others
would.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import PositiveInt

from springtide.plugins.contracts.serving import Array, ServingAggregator, ServingEncoder, Weights
from springtide.plugins.serving_edges import ServingEdges, ServingSum
from springtide_plugins.serving.layers import Dense, GRUCell, relu

_ONE = np.float32(1)
_NEWER_HALF_LIVES = np.array((1.0, 4.0, 16.0), np.float32)  # Of ``tgat.NEWER_HALF_LIVES``.
_NEGATIVE_SLOPE = np.float32(0.2)  # Of PyG's ``GATv2Conv``.


class EdgeSAGE(ServingEncoder):
    """Serving half of ``edge_sage.EdgeSAGE``."""

    default_aggregator = "mean"

    def __init__(
        self,
        width: int,
        num_layers: int,
        aggregators: Sequence[ServingAggregator],
        weights: Weights,
        fanout: PositiveInt | None = 15,
    ) -> None:
        super().__init__(width, num_layers, aggregators, weights)
        depths = range(num_layers)
        self._of_source = [Dense.of(weights, f"of_source.{depth}") for depth in depths]
        self._of_edge = [_EdgeTerm(weights, f"of_edge.{depth}") for depth in depths]
        self._of_neighbours = [Dense.of(weights, f"of_neighbours.{depth}") for depth in depths]
        self._of_self = [Dense.of(weights, f"of_self.{depth}") for depth in depths]

    def layer(self, depth: int, sources: Array, targets: Array, edges: ServingEdges) -> Array:
        """Apply one layer; see the contract for shapes."""
        messages = edges.of_sources(self._of_source[depth](sources)) + self._of_edge[depth](edges)
        message = edges.combine(messages, self.aggregators[depth])
        updated = self._of_neighbours[depth](message) + self._of_self[depth](targets)
        return updated if depth == self.num_layers - 1 else relu(updated)


class GATv2(ServingEncoder):
    """Serving half of ``gat.GATv2``."""

    default_aggregator = "sum"

    def __init__(
        self,
        width: int,
        num_layers: int,
        aggregators: Sequence[ServingAggregator],
        weights: Weights,
        heads: PositiveInt = 4,
        fanout: PositiveInt | None = 15,
    ) -> None:
        super().__init__(width, num_layers, aggregators, weights)

    def layer(self, depth: int, sources: Array, targets: Array, edges: ServingEdges) -> Array:
        """Apply one layer; see the contract for shapes."""
        name, weights, aggregator = f"attentions.{depth}", self.weights, self.aggregators[depth]
        strength = weights[f"{name}.att"][0]  # [heads, width of a head]
        of_source = edges.of_sources(Dense.of(weights, f"{name}.lin_l")(sources))  # [num_edges, d]
        of_target = edges.of_targets(Dense.of(weights, f"{name}.lin_r")(targets))
        both = of_target + of_source + Dense.of(weights, f"{name}.lin_edge")(edges.features())
        both = np.where(both > 0, both, _NEGATIVE_SLOPE * both).reshape(-1, *strength.shape)
        attention = edges.softmax(np.einsum("ehk,hk->eh", both, strength))
        if type(aggregator) is not ServingSum:
            attention = attention * edges.counts[edges.target].astype(np.float32)[:, None]
        messages = of_source * np.repeat(attention, strength.shape[1], axis=1)
        combined = edges.combine(messages, aggregator, np.ones_like(edges.weight))
        updated = combined + Dense.of(weights, f"{name}.res")(targets) + weights[f"{name}.bias"]
        if depth == self.num_layers - 1:
            return updated
        return np.where(updated > 0, updated, np.expm1(np.minimum(updated, np.float32(0))))


class GCN(ServingEncoder):
    """Serving half of ``gcn.GCN``."""

    default_aggregator = "sum"

    def __init__(
        self,
        width: int,
        num_layers: int,
        aggregators: Sequence[ServingAggregator],
        weights: Weights,
        fanout: PositiveInt | None = None,
        is_residual: bool = True,
    ) -> None:
        super().__init__(width, num_layers, aggregators, weights)
        self._is_residual = is_residual
        self._transforms = [Dense.of(weights, f"transforms.{depth}") for depth in range(num_layers)]

    def layer(self, depth: int, sources: Array, targets: Array, edges: ServingEdges) -> Array:
        """Apply one layer; see the contract for shapes."""
        updated = self._transforms[depth](self._convolved(depth, sources, targets, edges))
        if depth < self.num_layers - 1:
            updated = relu(updated)
        return targets + updated if self._is_residual else updated

    def _convolved(self, depth: int, sources: Array, targets: Array, edges: ServingEdges) -> Array:
        aggregator, degree = self.aggregators[depth], edges.target_degree + _ONE
        own_share = (_ONE / degree)[:, None]  # [num_targets, 1]
        if type(aggregator) is ServingSum:
            product = (edges.of_sources(edges.source_degree) + _ONE) * edges.of_targets(degree)
            weight = edges.counted_weight() / np.sqrt(product)
            return edges.aggregate(sources, aggregator, weight) + own_share * targets
        return (_ONE - own_share) * edges.aggregate(sources, aggregator) + own_share * targets


class GGNN(ServingEncoder):
    """Serving half of ``ggnn.GGNN``."""

    default_aggregator = "mean"

    def __init__(
        self,
        width: int,
        num_layers: int,
        aggregators: Sequence[ServingAggregator],
        weights: Weights,
        fanout: PositiveInt | None = None,
    ) -> None:
        super().__init__(width, num_layers, aggregators, weights)
        self._message, self._gate = Dense.of(weights, "message"), GRUCell.of(weights, "gate")

    def layer(self, depth: int, sources: Array, targets: Array, edges: ServingEdges) -> Array:
        """Apply one layer; see the contract for shapes."""
        return self._gate(edges.aggregate(self._message(sources), self.aggregators[depth]), targets)


class GraphSAGE(ServingEncoder):
    """Serving half of ``graphsage.GraphSAGE``."""

    default_aggregator = "mean"

    def __init__(
        self,
        width: int,
        num_layers: int,
        aggregators: Sequence[ServingAggregator],
        weights: Weights,
        fanout: PositiveInt | None = 25,
    ) -> None:
        super().__init__(width, num_layers, aggregators, weights)
        self._of_neighbours = [Dense.of(weights, f"of_neighbours.{depth}") for depth in range(num_layers)]
        self._of_self = [Dense.of(weights, f"of_self.{depth}") for depth in range(num_layers)]

    def layer(self, depth: int, sources: Array, targets: Array, edges: ServingEdges) -> Array:
        """Apply one layer; see the contract for shapes."""
        message = edges.aggregate(sources, self.aggregators[depth])
        updated = self._of_neighbours[depth](message) + self._of_self[depth](targets)
        return updated if depth == self.num_layers - 1 else relu(updated)


class RGCN(ServingEncoder):
    """Serving half of ``hetero.RGCN``."""

    default_aggregator = "mean"

    def __init__(
        self,
        width: int,
        num_layers: int,
        aggregators: Sequence[ServingAggregator],
        weights: Weights,
        num_bases: PositiveInt | None = None,
        has_typed_self: bool = False,
        fanout: PositiveInt | None = 20,
    ) -> None:
        super().__init__(width, num_layers, aggregators, weights)
        self._matrices = [self._of_relations(f"matrices.{depth}") for depth in range(num_layers)]

    def layer(self, depth: int, sources: Array, targets: Array, edges: ServingEdges) -> Array:
        """Apply one layer; see the contract for shapes."""
        if edges.relation is None or edges.target_type is None:
            raise ValueError("wanted edges and nodes that have types, got those of one type")
        updated = self._of_self(depth, targets, edges)
        for relation in np.unique(edges.relation).tolist():
            combined = edges.of_relation(relation).aggregate(sources, self.aggregators[depth])
            updated = updated + combined @ self._matrices[depth][relation]
        return updated if depth == self.num_layers - 1 else relu(updated)

    def _of_relations(self, name: str) -> Array:
        """Return the matrix of each relation, float32 ``[num_relations, d, d]``."""
        matrices, shares = self.weights[f"{name}.matrices"], self.weights.get(f"{name}.shares")
        return matrices if shares is None else np.tensordot(shares, matrices, 1)

    def _of_self(self, depth: int, targets: Array, edges: ServingEdges) -> Array:
        name = f"of_self.{depth}"
        if f"{name}.transform.weight" in self.weights:
            return Dense.of(self.weights, f"{name}.transform")(targets)
        assert edges.target_type is not None, "just checked"
        transformed = np.zeros_like(targets)
        for node_type in np.unique(edges.target_type).tolist():
            rows = edges.target_type == node_type
            transformed[rows] = Dense.of(self.weights, f"{name}.transforms.{node_type}")(targets[rows])
        return transformed


class LightGCN(ServingEncoder):
    """Serving half of ``lightgcn.LightGCN``."""

    default_aggregator = "sum"

    def __init__(
        self,
        width: int,
        num_layers: int,
        aggregators: Sequence[ServingAggregator],
        weights: Weights,
        fanout: PositiveInt | None = None,
    ) -> None:
        super().__init__(width, num_layers, aggregators, weights)

    def layer(self, depth: int, sources: Array, targets: Array, edges: ServingEdges) -> Array:
        """Apply one layer; see the contract for shapes."""
        weight = edges.symmetric_weight() if type(self.aggregators[depth]) is ServingSum else None
        return edges.aggregate(sources, self.aggregators[depth], weight)

    def readout(self, levels: Sequence[Array]) -> Array:
        """Return the mean of the levels."""
        total = levels[0]
        for level in levels[1:]:
            total = total + level
        return total / np.float32(len(levels))


class MPNN(ServingEncoder):
    """Serving half of ``mpnn.MPNN``."""

    default_aggregator = "mean"

    def __init__(
        self,
        width: int,
        num_layers: int,
        aggregators: Sequence[ServingAggregator],
        weights: Weights,
        update: Literal["gru", "mlp"] = "gru",
        fanout: PositiveInt | None = 15,
    ) -> None:
        super().__init__(width, num_layers, aggregators, weights)
        depths = range(num_layers)
        self._of_source = [Dense.of(weights, f"of_source.{depth}") for depth in depths]
        self._of_target = [Dense.of(weights, f"of_target.{depth}") for depth in depths]
        self._of_edge = [_EdgeTerm(weights, f"of_edge.{depth}") for depth in depths]
        self._out = [Dense.of(weights, f"out.{depth}") for depth in depths]
        has_gru = "updates.0.weight_ih" in weights
        self._updates = [(GRUCell.of if has_gru else _MLPUpdate)(weights, f"updates.{depth}") for depth in depths]

    def layer(self, depth: int, sources: Array, targets: Array, edges: ServingEdges) -> Array:
        """Apply one layer; see the contract for shapes."""
        hidden = edges.of_sources(self._of_source[depth](sources)) + edges.of_targets(self._of_target[depth](targets))
        hidden = relu(hidden + self._of_edge[depth](edges))  # [num_edges, d]
        message = self._out[depth](edges.combine(hidden, self.aggregators[depth]))
        return self._updates[depth](message, targets)


class TGAT(ServingEncoder):
    """Serving half of ``tgat.TGAT``."""

    default_aggregator = "sum"

    def __init__(
        self,
        width: int,
        num_layers: int,
        aggregators: Sequence[ServingAggregator],
        weights: Weights,
        heads: PositiveInt = 2,
        num_latest: PositiveInt = 32,
        num_frequencies: PositiveInt = 16,
        fanout: PositiveInt | None = None,
    ) -> None:
        super().__init__(width, num_layers, aggregators, weights)
        self._heads, self._num_latest = heads, num_latest
        depths = range(num_layers)
        self._queries = [Dense.of(weights, f"queries.{depth}") for depth in depths]
        self._keys = [Dense.of(weights, f"keys.{depth}") for depth in depths]
        self._values = [Dense.of(weights, f"values.{depth}") for depth in depths]
        self._code_keys = [Dense.of(weights, f"code_keys.{depth}") for depth in depths]
        self._code_values = [Dense.of(weights, f"code_values.{depth}") for depth in depths]
        self._of_self = [Dense.of(weights, f"of_self.{depth}") for depth in depths]

    def layer(self, depth: int, sources: Array, targets: Array, edges: ServingEdges) -> Array:
        """Apply one layer; see the contract for shapes."""
        latest, aggregator = edges.latest(self._num_latest), self.aggregators[depth]
        of_sources, codes = latest.of_sources(sources), self._codes(latest)
        queries = latest.of_targets(self._queries[depth](targets))
        products = queries * (self._keys[depth](of_sources) + self._code_keys[depth](codes))  # [num_edges, d]
        logits = products.reshape(latest.num_edges, self._heads, self.width // self._heads).sum(-1)
        attention = latest.softmax(logits / np.float32(np.sqrt(self.width // self._heads)))  # [num_edges, heads]
        if type(aggregator) is not ServingSum:
            attention = attention * latest.counts[latest.target].astype(np.float32)[:, None]
        messages = self._values[depth](of_sources) + self._code_values[depth](codes)
        messages = messages * np.repeat(attention, self.width // self._heads, axis=1)
        combined = latest.combine(messages, aggregator, np.ones_like(latest.weight))
        updated = combined + self._of_self[depth](targets)
        if depth == self.num_layers - 1:
            return updated
        return np.where(updated > 0, updated, np.expm1(np.minimum(updated, np.float32(0))))

    def _codes(self, edges: ServingEdges) -> Array:
        """Return the code of each edge, float32 ``[num_edges, d_code]``."""
        frequencies = self.weights["frequencies"]
        waves = np.cos(edges.age_days[:, None] * frequencies) / np.float32(np.sqrt(len(frequencies)))
        places = np.exp2(-edges.newer()[:, None].astype(np.float32) / _NEWER_HALF_LIVES)
        return np.concatenate([waves, edges.features(), places], axis=1)


class _MLPUpdate:
    """Adds the result of a network with one hidden layer, on the level and the message, to the level."""

    def __init__(self, weights: Weights, name: str) -> None:
        self._hidden, self._out = Dense.of(weights, f"{name}.hidden"), Dense.of(weights, f"{name}.out")

    def __call__(self, message: Array, level: Array) -> Array:
        """Return float32 ``[n, d]``; message and level have this shape too."""
        return level + self._out(relu(self._hidden(np.concatenate([level, message], axis=1))))


class _EdgeTerm:
    """A vector for each edge, from its type, strength and age: ``edge_terms.EdgeTerm``."""

    def __init__(self, weights: Weights, name: str) -> None:
        self._of_features, self._of_relation = weights[f"{name}.of_features"], weights[f"{name}.of_relation"]

    def __call__(self, edges: ServingEdges) -> Array:
        """Return float32 ``[num_edges, d]``.

        Raises:
            ValueError: If the edges have no types.
        """
        if edges.relation is None:
            raise ValueError("wanted edges that have types, got edges of one type")
        return edges.features() @ self._of_features + self._of_relation[edges.relation]
