"""Tasks about single nodes: a category that some lack, a number that some lack."""

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


class _OfNodes(LabelledTask):
    """A task whose examples are nodes of one type, by their rows; those that have the label are learned from."""

    def __init__(self, node_type: str, attribute: str) -> None:
        super().__init__()
        self.labels = [(node_type, attribute)]
        self.node_type = node_type
        self.attribute = attribute

    def nodes_of(self, examples: Int64s) -> Int64s:
        """Return the nodes in the list of all, one for each row."""
        return examples + self._start

    def _check_type(self, graph: TaskGraph) -> None:
        if self.node_type not in graph.counts:
            raise TrainingError(
                f"wanted nodes of type {self.node_type!r} to predict {self.attribute!r} of, and the encoder sees those "
                f"of {', '.join(graph.counts)} alone: one that is relational sees all"
            )

    def _split(self, graph: TaskGraph, has_label: npt.NDArray[np.bool_]) -> None:
        self._start = graph.starts[self.node_type]
        self.known, self.unknown = np.flatnonzero(has_label), np.flatnonzero(~has_label)


class NodeClassification(_OfNodes):
    """Predict a category attribute of nodes that lack it, such as the department of a product, from those that have it.

    Semi-supervised: all nodes take part in the messages, the cross entropy is over those with a label (Kipf & Welling
    2017, "Semi-supervised classification with graph convolutional networks", eq. 10).

    Args:
        node_type: Of which nodes.
        attribute: Which category attribute; of several values, the first.
    """

    def __init__(self, node_type: str = "item", attribute: str = "department") -> None:
        super().__init__(node_type, attribute)

    def prepare(self, graph: TaskGraph, width: int) -> None:
        """Find the nodes that have the attribute.

        Raises:
            TrainingError: If they have not two values to tell apart.
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
        """Return the likeliest value of each node."""
        return [self.classes[code] for code in self.head(vectors).argmax(-1).tolist()]

    def score(self, vectors: Tensor, examples: Int64s) -> float:
        """Return the accuracy."""
        found = self.head(vectors).argmax(-1).cpu().numpy()
        return float((found == self._codes[examples]).mean())


class NodeRegression(_OfNodes):
    """Predict a number attribute of nodes that lack it, such as a price, from those that have it.

    The squared error of numbers that are brought to mean 0 and deviation 1.

    Args:
        node_type: Of which nodes.
        attribute: Which number attribute.
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
            TrainingError: If their numbers are not at least two different ones.
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
        """Return the mean squared error of nodes, in squared deviations."""
        numbers = torch.from_numpy(self._numbers[examples]).to(vectors.device)
        return F.mse_loss(self.head(vectors).squeeze(-1), (numbers - self.mean) / self.deviation)

    def predict(self, vectors: Tensor, examples: Int64s) -> Sequence[float]:
        """Return the number of each node, in its own unit."""
        numbers: list[float] = (self.head(vectors).squeeze(-1) * self.deviation + self.mean).tolist()
        return numbers

    def score(self, vectors: Tensor, examples: Int64s) -> float:
        """Return R², the share of the variance that the predictions explain; 0 is that of the mean."""
        numbers = self._numbers[examples].astype(np.float64)
        unexplained = np.square(numbers - np.array(self.predict(vectors, examples))).sum()
        return 1.0 - float(unexplained / max(np.square(numbers - numbers.mean()).sum(), 1e-12))
