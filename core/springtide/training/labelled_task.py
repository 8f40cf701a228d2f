"""Tasks whose examples have labels, some of them: what such a task must be to be learned on its own."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from springtide.plugins.contracts import Task

Int64s = npt.NDArray[np.int64]


class LabelledTask(Task):
    """A task about examples, nodes or sets of nodes, of which some have a label.

    It can be learned on its own: what it predicts of those without one is the purpose, and some that have one may be
    held out to measure how well. ``prepare`` sets the attributes.

    Attributes:
        known: int64 ``[num_known]``, examples that have a label, to learn from.
        held_out: int64, examples that have one, not to learn from.
        unknown: int64, examples that have none.
    """

    known: Int64s
    held_out: Int64s = np.zeros(0, np.int64)
    unknown: Int64s
    _drawn: Int64s

    def nodes_of(self, examples: Int64s) -> Int64s:
        """Return the nodes that examples are about, int64 ``[num_nodes]``, those of one example together."""
        raise NotImplementedError

    def loss(self, vectors: Tensor, examples: Int64s) -> Tensor:
        """Return the mean loss of examples, float32 scalar, given float32 ``[num_nodes, d]`` of ``nodes_of``."""
        raise NotImplementedError

    def predict(self, vectors: Tensor, examples: Int64s) -> Sequence[str] | Sequence[float]:
        """Return the label of each example, as ``loss`` is given them."""
        raise NotImplementedError

    def score(self, vectors: Tensor, examples: Int64s) -> float:
        """Return how right the predictions are for examples that have a label; 1 is perfect."""
        raise NotImplementedError

    def hold_out(self, share: float, generator: np.random.Generator) -> None:
        """Set a random share of the known examples aside; at least one is left."""
        known = generator.permutation(self.known)
        count = min(round(share * len(known)), len(known) - 1)
        self.held_out, self.known = np.sort(known[:count]), np.sort(known[count:])

    def draw(self, count: int, generator: np.random.Generator) -> Int64s:
        """Draw known examples, with replacement, and return their nodes."""
        self._drawn = generator.choice(self.known, count)
        return self.nodes_of(self._drawn)

    def forward(self, vectors: Tensor) -> Tensor:
        """Return the mean loss of the examples drawn last, float32 scalar."""
        return self.loss(vectors, self._drawn)


class GraphTask(LabelledTask):
    """A labelled task whose examples are graphs: sets of items, which it finds itself unless it is given them."""

    def take(self, graphs: Sequence[Int64s], labels: Sequence[str | None]) -> None:
        """Take graphs to learn from, before ``prepare``.

        Args:
            graphs: Item rows of each, int64.
            labels: Label of each; None for those to predict.
        """
        raise NotImplementedError
