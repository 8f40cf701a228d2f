"""Tasks about single nodes: predict a category or a number of the nodes that lack it."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from springtide.errors import TrainingError
from springtide.plugins.contracts import TaskGraph
from springtide.training.labelled_task import LabelledTask

Int64s = npt.NDArray[np.int64]


class _NodeTask(LabelledTask):
    """A task whose examples are the rows of one node type; those with the label are learned from."""

    def __init__(self, node_type: str, attribute: str) -> None:
        super().__init__()
        self.labels = [(node_type, attribute)]
        self.node_type = node_type
        self.attribute = attribute

    def nodes_of(self, examples: Int64s) -> Int64s:
        """Return the node of each row."""
        return examples + self._start

    def _check_type(self, graph: TaskGraph) -> None:
        if self.node_type not in graph.counts:
            raise TrainingError(
                f"wanted nodes of type {self.node_type!r}, whose {self.attribute!r} is predicted, but the encoder sees "
                f"only {', '.join(graph.counts)}: a relational encoder sees all types"
            )

    def _split(self, graph: TaskGraph, has_label: npt.NDArray[np.bool_]) -> None:
        self._start = graph.starts[self.node_type]
        self.known, self.unknown = np.flatnonzero(has_label), np.flatnonzero(~has_label)


class NodeClassification(_NodeTask):
    """Predict a category attribute, such as the department of a product, of the nodes that lack it.

    Semi-supervised: all nodes pass messages, and the cross entropy is over those with a label (Kipf & Welling 2017,
    "Semi-supervised classification with graph convolutional networks", eq. 10).

    Args:
        node_type: Type of the nodes.
        attribute: Name of the category attribute; the first value counts if a node has several.
    """

    def __init__(self, node_type: str = "item", attribute: str = "department") -> None:
        super().__init__(node_type, attribute)

    def prepare(self, graph: TaskGraph, width: int) -> None:
        """Find the nodes that have the attribute.

        Raises:
            TrainingError: If they have fewer than two values.
        """
        self._check_type(graph)
        codes, self.classes = graph.categories(self.node_type, self.attribute)
        num_classes = len(np.unique(codes[codes >= 0]))
        if num_classes < 2:
            raise TrainingError(
                f"wanted nodes of type {self.node_type!r} with two values of the category {self.attribute!r} or more, "
                f"got {num_classes}"
            )
        self._codes = codes
        self._split(graph, codes >= 0)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, len(self.classes)))

    def loss(self, vectors: Tensor, examples: Int64s) -> Tensor:
        """Return the mean cross entropy of nodes."""
        return F.cross_entropy(self.head(vectors), torch.from_numpy(self._codes[examples]).to(vectors.device))

    def predict(self, vectors: Tensor, examples: Int64s) -> Sequence[str]:
        """Return the most likely value of each node."""
        return [self.classes[code] for code in self.head(vectors).argmax(-1).tolist()]

    def score(self, vectors: Tensor, examples: Int64s) -> float:
        """Return the accuracy."""
        found = self.head(vectors).argmax(-1).cpu().numpy()
        return float((found == self._codes[examples]).mean())


class NodeRegression(_NodeTask):
    """Predict a number attribute, such as a price, of the nodes that lack it.

    The loss is the squared error of the numbers, standardised to mean 0 and standard deviation 1.

    Args:
        node_type: Type of the nodes.
        attribute: Name of the number attribute.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, node_type: str = "item", attribute: str = "price") -> None:
        super().__init__(node_type, attribute)
        self.register_buffer("mean", torch.tensor(0.0))
        self.register_buffer("deviation", torch.tensor(1.0))

    def prepare(self, graph: TaskGraph, width: int) -> None:
        """Find the nodes that have the attribute.

        Raises:
            TrainingError: If they have fewer than two different numbers.
        """
        self._check_type(graph)
        self._numbers = graph.numbers(self.node_type, self.attribute)
        present = self._numbers[np.isfinite(self._numbers)].astype(np.float64)
        if len(np.unique(present)) < 2:
            raise TrainingError(
                f"wanted nodes of type {self.node_type!r} with two values of the number {self.attribute!r} or more, "
                f"got {len(np.unique(present))}"
            )
        self.mean.fill_(present.mean())
        self.deviation.fill_(present.std())
        self._split(graph, np.isfinite(self._numbers))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))

    def loss(self, vectors: Tensor, examples: Int64s) -> Tensor:
        """Return the mean squared error of nodes, in squared standard deviations."""
        numbers = torch.from_numpy(self._numbers[examples]).to(vectors.device)
        return F.mse_loss(self.head(vectors).squeeze(-1), (numbers - self.mean) / self.deviation)

    def predict(self, vectors: Tensor, examples: Int64s) -> Sequence[float]:
        """Return the predicted number of each node, in its own unit."""
        numbers: list[float] = (self.head(vectors).squeeze(-1) * self.deviation + self.mean).tolist()
        return numbers

    def score(self, vectors: Tensor, examples: Int64s) -> float:
        """Return R², the explained share of the variance; predicting the mean has 0."""
        numbers = self._numbers[examples].astype(np.float64)
        unexplained = np.square(numbers - np.array(self.predict(vectors, examples))).sum()
        return 1.0 - float(unexplained / max(np.square(numbers - numbers.mean()).sum(), 1e-12))
