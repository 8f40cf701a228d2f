"""The contract of tasks that can be learned on their own: some of their examples have labels."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from springtide.plugins.contracts import Task

Int64s = npt.NDArray[np.int64]


class LabelledTask(Task):
    """A task whose examples are nodes or sets of nodes, some of which have a label.

    It can be learned on its own, to predict the labels of the other examples. Some examples with a label may be held
    out to measure the predictions. ``prepare`` sets the attributes.

    Attributes:
        known: int64 ``[num_known]``, examples with a label, to learn from.
        held_out: int64, examples with a label that are not learned from.
        unknown: int64, examples without a label.
    """

    known: Int64s
    held_out: Int64s = np.zeros(0, np.int64)
    unknown: Int64s
    _drawn: Int64s

    def nodes_of(self, examples: Int64s) -> Int64s:
        """Return the nodes of the examples, int64 ``[num_nodes]``, example by example."""
        raise NotImplementedError

    def loss(self, vectors: Tensor, examples: Int64s) -> Tensor:
        """Return the mean loss of examples, float32 scalar, given the vectors of ``nodes_of``, ``[num_nodes, d]``."""
        raise NotImplementedError

    def predict(self, vectors: Tensor, examples: Int64s) -> Sequence[str] | Sequence[float]:
        """Return the predicted label of each example; arguments as of ``loss``."""
        raise NotImplementedError

    def score(self, vectors: Tensor, examples: Int64s) -> float:
        """Return how good the predictions of labelled examples are, 1 for perfect; arguments as of ``loss``."""
        raise NotImplementedError

    def hold_out(self, share: float, generator: np.random.Generator) -> None:
        """Hold out a random share of the known examples; at least one stays known."""
        known = generator.permutation(self.known)
        count = min(round(share * len(known)), len(known) - 1)
        self.held_out, self.known = np.sort(known[:count]), np.sort(known[count:])

    def draw(self, count: int, generator: np.random.Generator) -> Int64s:
        """Draw known examples, with replacement, and return their nodes, int64 ``[num_nodes]``."""
        self._drawn = generator.choice(self.known, count)
        return self.nodes_of(self._drawn)

    def forward(self, vectors: Tensor) -> Tensor:
        """Return the mean loss of the examples drawn last, float32 scalar."""
        return self.loss(vectors, self._drawn)


class GraphTask(LabelledTask):
    """A labelled task whose examples are graphs, which are sets of items; it finds these itself or is given them."""

    def set_graphs(self, graphs: Sequence[Int64s], labels: Sequence[str | None]) -> None:
        """Set the graphs, before ``prepare``, in place of those that the task would find.

        Args:
            graphs: Item rows of each graph, int64.
            labels: Label of each graph; None for those to predict.
        """
        raise NotImplementedError
