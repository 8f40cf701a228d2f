"""The task: predict the travel times of road segments and of whole routes."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional as F

from springtide.errors import TrainingError
from springtide.plugins.contracts import TaskGraph
from springtide.training import LabelledTask
from springtide_travel_time.roads import PASSES, ROUTE, SEGMENT, TRAVEL_TIME

Rows = npt.NDArray[np.int64]


class TravelTime(LabelledTask):
    """Predict travel times of road segments and of routes over them, learning from both kinds of labels.

    Derrow-Pinion et al. 2021, "ETA prediction with graph neural networks in Google Maps": Huber losses of routes
    (supersegments in the paper) and of their segments. The time of a segment is its time at the speed limit, times a
    slowdown computed from its vector. The time of a route is that of its segments, plus a wait between two of them,
    computed from the vector of the first. Errors are relative to the time at the speed limit, so that long and short
    ways have the same weight.

    It needs nodes ``segment`` with the numbers ``length_m`` and ``speed_limit_kmh``, nodes ``route``, edges (route,
    passes, segment) in the order of their times, and the number ``travel_time_s`` on some nodes of both types.

    Args:
        segment_weight: Weight of the loss of segments; that of routes has weight 1.
        huber_delta: Relative error above which the loss is linear.
    """

    def __init__(self, segment_weight: NonNegativeFloat = 1.0, huber_delta: PositiveFloat = 0.5) -> None:
        super().__init__()
        self.labels = [(SEGMENT, TRAVEL_TIME), (ROUTE, TRAVEL_TIME)]
        self.segment_weight = segment_weight
        self.huber_delta = huber_delta

    def prepare(self, graph: TaskGraph, width: int) -> None:
        """Find segments and routes.

        Raises:
            TrainingError: If the encoder does not see segments, one has no length or speed limit, or no route has a
                time.
        """
        if SEGMENT not in graph.counts:
            raise TrainingError(f"wanted nodes of type {SEGMENT!r}, got those of {', '.join(graph.counts)}")
        view = graph.view
        length_m, limit_kmh = graph.numbers(SEGMENT, "length_m"), graph.numbers(SEGMENT, "speed_limit_kmh")
        free_flow_s = length_m / (limit_kmh / 3.6)
        if not np.isfinite(free_flow_s).all():
            raise TrainingError("wanted a length_m and a speed_limit_kmh above 0 of every segment")
        passes = view.edges(PASSES)
        order = np.lexsort((passes.timestamps_ms, passes.source))
        self._segments = passes.target[order].astype(np.int64)  # Route by route.
        self._pointers = np.searchsorted(passes.source[order], np.arange(view.num_nodes(ROUTE) + 1))
        route_time_s = (
            view.nodes(ROUTE).numbers.get(TRAVEL_TIME, np.full(view.num_nodes(ROUTE), np.nan)).astype(np.float32)
        )
        if not np.isfinite(route_time_s).any():
            raise TrainingError(f"wanted the number {TRAVEL_TIME!r} on some nodes of type {ROUTE!r}, got none")
        self._start = graph.starts[SEGMENT]
        self._free_flow_s = torch.from_numpy(free_flow_s)
        self._segment_time_s = torch.from_numpy(graph.numbers(SEGMENT, TRAVEL_TIME))
        self._route_time_s = torch.from_numpy(route_time_s)
        has_segments = np.diff(self._pointers) > 0
        self.known = np.flatnonzero(np.isfinite(route_time_s) & has_segments)
        self.unknown = np.flatnonzero(~np.isfinite(route_time_s) & has_segments)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))

    def nodes_of(self, examples: Rows) -> Rows:
        """Return the nodes of the segments, route by route."""
        return self._segments_of(examples)[0] + self._start

    def loss(self, vectors: Tensor, examples: Rows) -> Tensor:
        """Return the Huber loss of routes plus the weighted one of their measured segments."""
        segments, route = self._segments_of(examples)
        free_flow_s = self._free_flow_s[segments]
        segment_s, route_s = self._times(vectors, segments, route, len(examples))
        route_loss = self._huber(route_s, self._route_time_s[examples], _sums(free_flow_s, route, len(examples)))
        is_measured = self._segment_time_s[segments].isfinite()
        if not is_measured.any():
            return route_loss
        segment_loss = self._huber(
            segment_s[is_measured], self._segment_time_s[segments][is_measured], free_flow_s[is_measured]
        )
        return route_loss + self.segment_weight * segment_loss

    def predict(self, vectors: Tensor, examples: Rows) -> Sequence[float]:
        """Return the time of each route in seconds."""
        segments, route = self._segments_of(examples)
        times: list[float] = self._times(vectors, segments, route, len(examples))[1].tolist()
        return times

    def score(self, vectors: Tensor, examples: Rows) -> float:
        """Return R² of the predicted times of routes."""
        times = self._route_time_s[examples].numpy().astype(np.float64)
        unexplained = np.square(times - np.array(self.predict(vectors, examples))).sum()
        return 1.0 - float(unexplained / np.square(times - times.mean()).sum())

    def segment_times(self, vectors: Tensor) -> Tensor:
        """Return the time of every segment in seconds, float32 ``[num_segments]``.

        Args:
            vectors: float32 ``[num_nodes, d]``, vectors of all nodes.
        """
        segment_vectors = vectors[self._start : self._start + len(self._free_flow_s)]
        slowdown: Tensor = F.softplus(self.head(segment_vectors)[:, 0])
        return self._free_flow_s * slowdown

    def _segments_of(self, routes: Rows) -> tuple[Rows, Rows]:
        """Return the segments of routes, route by route, and for each the position of its route, int64 each."""
        counts = np.diff(self._pointers)[routes]
        position = np.repeat(np.arange(len(routes)), counts)
        within = np.arange(len(position)) - np.repeat(np.cumsum(counts) - counts, counts)
        return self._segments[self._pointers[routes][position] + within], position

    def _times(self, vectors: Tensor, segments: Rows, route: Rows, num_routes: int) -> tuple[Tensor, Tensor]:
        """Return the times of segments ``[num_segments]`` and of routes ``[num_routes]`` in seconds, float32."""
        slowdown, wait = F.softplus(self.head(vectors)).unbind(-1)
        free_flow_s = self._free_flow_s[segments]
        segment_s = free_flow_s * slowdown
        is_last = torch.from_numpy(np.append(np.diff(route) != 0, True))
        wait_s = (wait * free_flow_s.mean()).masked_fill(is_last, 0.0)
        return segment_s, _sums(segment_s + wait_s, route, num_routes)

    def _huber(self, predicted_s: Tensor, true_s: Tensor, free_flow_s: Tensor) -> Tensor:
        return F.huber_loss(predicted_s / free_flow_s, true_s / free_flow_s, delta=self.huber_delta)


def _sums(values: Tensor, route: Rows, num_routes: int) -> Tensor:
    return values.new_zeros(num_routes).index_add(0, torch.from_numpy(route), values)
