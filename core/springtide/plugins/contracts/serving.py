"""The serving halves of encoders and aggregators: the same mathematics as in training, on numpy arrays alone.

A server folds in new users and items by these, so that it needs no torch. A part without one is served by torch.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from springtide.plugins.serving_edges import Array, Carry, ServingAggregator, ServingEdges, Weights

__all__ = ["Array", "Carry", "MakeServingPart", "ServingAggregator", "ServingEdges", "ServingEncoder", "Weights"]

MakeServingPart = Callable[[str, str, Weights], Any]
"""Makes the serving half of another part from its weights: ``make("aggregator", "mean", {})``."""


class ServingEncoder:
    """The serving half of an encoder: it folds nodes in, one layer of neighbours at a time.

    The factory takes these arguments and the options of the training half, with the same defaults; also ``schema``, and
    ``make`` (``MakeServingPart``), if its signature names them. An option that concerns the training alone is taken and
    not used.

    Args:
        width: Width ``d`` of the inputs and of every level.
        num_layers: Number of message-passing layers.
        aggregators: Serving half of the aggregator of each layer.
        weights: The encoder's parameters, float32, those of the aggregators included.

    Attributes:
        default_aggregator: As that of the training half.
        parts_with_torch: Parts because of which torch computes all this, each in words; empty for numpy alone.

    Example:
        >>> class Averaging(ServingEncoder):
        ...     def layer(self, depth, sources, targets, edges):
        ...         return targets + edges.aggregate(sources, self.aggregators[depth])
        >>> import numpy as np
        >>> from springtide.plugins.serving_edges import ServingMean
        >>> encoder = Averaging(width=2, num_layers=1, aggregators=[ServingMean(2, {})], weights={})
        >>> edges = ServingEdges(
        ...     source=np.array([0, 1]),
        ...     target=np.array([0, 0]),
        ...     weight=np.ones(2, np.float32),
        ...     age_days=np.zeros(2, np.float32),
        ...     source_degree=np.ones(2, np.float32),
        ...     target_degree=np.array([2.0], np.float32),
        ... )
        >>> sources = np.array([[2.0, 0.0], [0.0, 4.0]], np.float32)
        >>> encoder.layer(0, sources, np.zeros((1, 2), np.float32), edges)  # [num_targets, d]
        array([[1., 2.]], dtype=float32)
    """

    default_aggregator: ClassVar[str | None] = None
    parts_with_torch: Sequence[str] = ()

    def __init__(self, width: int, num_layers: int, aggregators: Sequence[ServingAggregator], weights: Weights) -> None:
        self.width = width
        self.num_layers = num_layers
        self.aggregators = aggregators
        self.weights = weights

    def layer(self, depth: int, sources: Array, targets: Array, edges: ServingEdges) -> Array:
        """Pass messages once.

        Args:
            depth: Index of the layer, 0 to ``num_layers - 1``.
            sources: float32 ``[num_sources, d]``, level ``depth`` of the source nodes.
            targets: float32 ``[num_targets, d]``, level ``depth`` of the target nodes.
            edges: Edges from sources to targets; a target may have none.

        Returns:
            float32 ``[num_targets, d]``, level ``depth + 1`` of the targets.
        """
        raise NotImplementedError

    def readout(self, levels: Sequence[Array]) -> Array:
        """Combine levels 0 to ``num_layers``, each float32 ``[n, d]``, into vectors ``[n, d]``; here, the last."""
        return levels[-1]
