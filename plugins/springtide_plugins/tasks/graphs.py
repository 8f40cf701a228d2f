"""A task about sets of items: predict the kind of shopping trip from the items of a basket."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import MeanAggregation

from springtide.errors import SettingsError, TrainingError
from springtide.plugins.contracts import MakePart, TaskGraph
from springtide.plugins.edges import EdgeAggregation
from springtide.training.labelled_task import GraphTask
from springtide_plugins.tasks.baskets import KINDS, Graphs, When, baskets_of, kinds_of

Int64s = npt.NDArray[np.int64]


class GraphClassification(GraphTask):
    """Predict the kind of shopping trip from the items of a basket, whose vectors are pooled into one.

    The readout of Gilmer et al. 2017, "Neural message passing for quantum chemistry", eq. 3. With ``coarsen_by`` the
    items are clustered first, as in Ying et al. 2018, "Hierarchical graph representation learning with differentiable
    pooling", section 3.2, but with given clusters: items with the same value become one node, their mean.

    Args:
        make: Makes the aggregator.
        pooling: Name of the aggregator that pools vectors.
        label: What is predicted: the part of the week, or of the day, in UTC.
        gap_minutes: Length of the gap between two baskets of a user, at least.
        max_items: Number of distinct items of a basket, at most, the first ones.
        coarsen_by: Category attribute of items that clusters them; None for no clusters.

    Raises:
        SettingsError: If the aggregator uses edges.
    """

    def __init__(
        self,
        make: MakePart,
        pooling: str = "mean",
        label: When = "weekpart",
        gap_minutes: PositiveFloat = 30.0,
        max_items: PositiveInt = 64,
        coarsen_by: str | None = None,
    ) -> None:
        super().__init__()
        self.pooling = make("aggregator", pooling)
        if isinstance(self.pooling, EdgeAggregation):
            raise SettingsError(
                f"pooling {pooling!r} uses edges, and a basket has no edges to its items: choose an aggregator that "
                "uses messages alone"
            )
        self.label: When = label
        self.gap_minutes = gap_minutes
        self.max_items = max_items
        self.coarsen_by = coarsen_by
        self._merge = MeanAggregation()
        self._given: tuple[Graphs, Sequence[str | None]] | None = None

    def set_graphs(self, graphs: Sequence[Int64s], labels: Sequence[str | None]) -> None:
        """Set the graphs that are classified in place of baskets.

        Args:
            graphs: Item rows of each graph, int64.
            labels: Label of each graph; None for those to predict.

        Raises:
            TrainingError: If a graph has no items.
        """
        for number, graph in enumerate(graphs):
            if not len(graph):
                raise TrainingError(f"wanted known items in each graph, got none in graph {number}")
        numbers = np.repeat(np.arange(len(graphs)), [len(graph) for graph in graphs])
        items = np.concatenate(graphs) if graphs else np.zeros(0, np.int64)
        self._given = (Graphs.of(numbers, items, len(graphs), self.max_items), labels)

    def prepare(self, graph: TaskGraph, width: int) -> None:
        """Find the baskets and their labels.

        Raises:
            TrainingError: If there are fewer than two kinds, or no item has the attribute ``coarsen_by``.
        """
        if self._given is not None:
            self._graphs, labels = self._given
            self.classes: Sequence[str] = sorted({label for label in labels if label is not None})
            code_of = {label: code for code, label in enumerate(self.classes)}
            self._codes = np.array([-1 if label is None else code_of[label] for label in labels], np.int64)
        else:
            self._graphs, times_ms = baskets_of(graph.interactions, self.gap_minutes, self.max_items)
            self.classes, self._codes = KINDS[self.label], kinds_of(times_ms, self.label)
        num_kinds = len(np.unique(self._codes[self._codes >= 0]))
        if num_kinds < 2:
            raise TrainingError(f"wanted graphs of two kinds or more, got {num_kinds} in {len(self._graphs)} graphs")
        self.known, self.unknown = np.flatnonzero(self._codes >= 0), np.flatnonzero(self._codes < 0)
        self._start, self._clusters = graph.item_start, self._clusters_of(graph)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, len(self.classes)))

    def nodes_of(self, examples: Int64s) -> Int64s:
        """Return the nodes of the items, graph by graph."""
        return self._graphs.items_of(examples)[0] + self._start

    def loss(self, vectors: Tensor, examples: Int64s) -> Tensor:
        """Return the mean cross entropy of graphs."""
        return F.cross_entropy(
            self._scores(vectors, examples), torch.from_numpy(self._codes[examples]).to(vectors.device)
        )

    def predict(self, vectors: Tensor, examples: Int64s) -> Sequence[str]:
        """Return the most likely kind of each graph."""
        return [self.classes[code] for code in self._scores(vectors, examples).argmax(-1).tolist()]

    def score(self, vectors: Tensor, examples: Int64s) -> float:
        """Return the accuracy."""
        found = self._scores(vectors, examples).argmax(-1).cpu().numpy()
        return float((found == self._codes[examples]).mean())

    def pool(self, vectors: Tensor, examples: Int64s) -> Tensor:
        """Return one vector for each graph, float32 ``[num_graphs, d]``, from those of its items ``[num_nodes, d]``."""
        items, graph = self._graphs.items_of(examples)
        if self._clusters is not None:
            keys = graph * (self._clusters.max() + 1) + self._clusters[items]
            nodes, node = np.unique(keys, return_inverse=True)
            vectors = self._merge(vectors, index=torch.from_numpy(node).to(vectors.device), dim_size=len(nodes))
            graph = nodes // (self._clusters.max() + 1)
        index = torch.from_numpy(graph).to(vectors.device)
        pooled: Tensor = self.pooling(vectors, index=index, ptr=None, dim_size=len(examples))
        return pooled

    def _scores(self, vectors: Tensor, examples: Int64s) -> Tensor:
        scores: Tensor = self.head(self.pool(vectors, examples))
        return scores

    def _clusters_of(self, graph: TaskGraph) -> Int64s | None:
        """Return the cluster of each item, int64 ``[num_items]``; items without a value are their own clusters."""
        if self.coarsen_by is None:
            return None
        codes, values = graph.categories(graph.item_type, self.coarsen_by)
        if (codes < 0).all():
            raise TrainingError(f"wanted items with the category {self.coarsen_by!r} to coarsen by, got none")
        return np.where(codes >= 0, codes, len(values) + np.arange(len(codes)))
