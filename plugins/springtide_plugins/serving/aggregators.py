"""The serving halves of the aggregators. They take the same options; what was learned comes with the weights."""

from typing import Annotated

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from springtide.plugins.contracts.serving import (
    Array,
    Carry,
    MakeServingPart,
    ServingAggregator,
    Weights,
)
from springtide.plugins.serving_edges import ServingEdges, ServingMean
from springtide_plugins.serving.layers import LSTM, Dense

_TINY = np.float32(1e-30)
_LEAST_VARIANCE = np.float32(1e-5)  # PyG takes a variance up to this for 0.


class Max(ServingAggregator):
    """Serving half of ``make_max``."""

    def reduce(self, messages: Array, edges: ServingEdges) -> Array:
        """Combine the messages at each target; see the contract for shapes."""
        return edges.largest(messages)


class Min(ServingAggregator):
    """Serving half of ``make_min``."""

    def reduce(self, messages: Array, edges: ServingEdges) -> Array:
        """Combine the messages at each target; see the contract for shapes."""
        return -edges.largest(-messages)


class Std(ServingAggregator):
    """Serving half of ``make_std``."""

    def reduce(self, messages: Array, edges: ServingEdges) -> Array:
        """Combine the messages at each target; see the contract for shapes."""
        counts = np.maximum(edges.counts, 1).astype(np.float32)[:, None]
        mean = edges.sum(messages) / counts
        variance = edges.sum(messages * messages) / counts - mean * mean
        return np.where(variance > _LEAST_VARIANCE, np.sqrt(np.maximum(variance, _LEAST_VARIANCE)), np.float32(0))


class Softmax(ServingAggregator):
    """Serving half of ``make_softmax``."""

    def __init__(
        self, width: int, weights: Weights, inverse_temperature: PositiveFloat = 1.0, is_learned: bool = True
    ) -> None:
        super().__init__(width, weights)
        self._inverse_temperature = weights["t"] if is_learned else np.float32(inverse_temperature)

    def reduce(self, messages: Array, edges: ServingEdges) -> Array:
        """Combine the messages at each target; see the contract for shapes."""
        return edges.sum(messages * edges.softmax(messages * self._inverse_temperature))


class Attentional(ServingAggregator):
    """Serving half of ``make_attentional``."""

    def __init__(self, width: int, weights: Weights) -> None:
        super().__init__(width, weights)
        self._gate, self._transform = Dense.of(weights, "gate_nn"), Dense.of(weights, "nn")

    def reduce(self, messages: Array, edges: ServingEdges) -> Array:
        """Combine the messages at each target; see the contract for shapes."""
        attention = edges.softmax(self._gate(messages))  # [num_edges, 1]
        return edges.sum(self._transform(messages), attention[:, 0])


class PowerMean(ServingAggregator):
    """Serving half of ``power_mean.PowerMean``."""

    def __init__(self, width: int, weights: Weights, power: PositiveFloat = 2.0, is_learned: bool = True) -> None:
        super().__init__(width, weights)
        self._power = np.exp(weights["log_power"])

    def reduce(self, messages: Array, edges: ServingEdges) -> Array:
        """Combine the messages at each target; see the contract for shapes."""
        positive = np.maximum(np.logaddexp(np.float32(0), messages), _TINY)
        maximum = edges.largest(positive)
        has_any = maximum > 0
        maximum = np.where(has_any, maximum, np.float32(1))
        powers = np.power(positive / maximum[edges.target], self._power, dtype=np.float32)
        counts = np.maximum(edges.counts, 1).astype(np.float32)[:, None]
        mean = np.where(has_any, edges.sum(powers) / counts, np.float32(1))
        mean = maximum * mean ** (1 / self._power)
        return np.where(has_any, mean + np.log(-np.expm1(-mean)), np.float32(0))


class LatestLSTM(ServingAggregator):
    """Serving half of ``sequences.LatestLSTM``."""

    def __init__(self, width: int, weights: Weights, max_messages: PositiveInt = 32) -> None:
        super().__init__(width, weights)
        self._max_messages = max_messages
        self._lstm = LSTM.of(weights, "lstm")

    def reduce(self, messages: Array, edges: ServingEdges) -> Array:
        """Combine the messages at each target; see the contract for shapes."""
        lengths = np.minimum(edges.counts, self._max_messages)
        first = edges.pointers[1:] - lengths
        state = np.zeros((edges.num_targets, self.width), np.float32)
        cell = np.zeros_like(state)
        for place in range(int(lengths.max())):  # All targets read their next message at once.
            reading = np.flatnonzero(lengths > place)
            state[reading], cell[reading] = self._lstm(messages[first[reading] + place], state[reading], cell[reading])
        return state


class Set2Set(ServingAggregator):
    """Serving half of ``sequences.ProjectedSet2Set``."""

    def __init__(self, width: int, weights: Weights, processing_steps: PositiveInt = 3) -> None:
        super().__init__(width, weights)
        self._processing_steps = processing_steps
        self._lstm = LSTM.of(weights, "readings.lstm")
        self._project = Dense.of(weights, "project")

    def reduce(self, messages: Array, edges: ServingEdges) -> Array:
        """Combine the messages at each target; see the contract for shapes."""
        state = np.zeros((edges.num_targets, self.width), np.float32)
        cell = np.zeros_like(state)
        read = np.zeros((edges.num_targets, 2 * self.width), np.float32)
        for _ in range(self._processing_steps):
            state, cell = self._lstm(read, state, cell)
            likeness = np.einsum("ed,ed->e", messages, state[edges.target])[:, None]
            attention = edges.softmax(likeness)[:, 0]
            read = np.concatenate([state, edges.sum(messages, attention)], axis=1)
        return self._project(read) * (edges.counts > 0)[:, None]


class TimeDecay(ServingAggregator):
    """Serving half of ``edge_aware.TimeDecay``."""

    def __init__(
        self, width: int, weights: Weights, half_life_days: PositiveFloat = 30.0, is_learned: bool = True
    ) -> None:
        super().__init__(width, weights)
        self._half_life_days = np.exp(weights["log_half_life_days"])
        self._mean = ServingMean(width, {})

    def combine(self, edges: ServingEdges, weight: Array, carry: Carry, width: int) -> Array:
        """Combine the messages along the edges; see the contract for shapes."""
        newest = -edges.largest(-edges.age_days[:, None])[:, 0]
        half_lives = (edges.age_days - newest[edges.target]) / self._half_life_days
        return carry(self._mean, weight * np.exp2(-half_lives))


class Several(ServingAggregator):
    """Serving half of ``edge_aware.Several``."""

    def __init__(
        self,
        width: int,
        weights: Weights,
        make: MakeServingPart,
        of: Annotated[list[str], Field(min_length=1)] = ["mean", "max", "std"],  # noqa: B006  # read, never changed
    ) -> None:
        super().__init__(width, weights)
        self._parts = [make("aggregator", name, _under(f"parts.{index}.", weights)) for index, name in enumerate(of)]
        self._project = Dense.of(weights, "project")

    def combine(self, edges: ServingEdges, weight: Array, carry: Carry, width: int) -> Array:
        """Combine the messages along the edges; see the contract for shapes."""
        return self._project(np.concatenate([carry(part, weight) for part in self._parts], axis=1))


def _under(prefix: str, weights: Weights) -> Weights:
    return {name.removeprefix(prefix): array for name, array in weights.items() if name.startswith(prefix)}
