"""The layers of torch and PyTorch Geometric that our parts are made of, computed in numpy."""

from dataclasses import dataclass

import numpy as np

from springtide.plugins.contracts.serving import Array, Weights


@dataclass(frozen=True, slots=True)
class Dense:
    """A linear layer.

    Attributes:
        matrix: float32 ``[d_in, d_out]``.
        bias: float32 ``[d_out]``, or None.
    """

    matrix: Array
    bias: Array | None

    @classmethod
    def of(cls, weights: Weights, name: str) -> "Dense":
        """Return the layer of a name."""
        return cls(weights[f"{name}.weight"].T, weights.get(f"{name}.bias"))

    def __call__(self, values: Array) -> Array:
        """Return float32 ``[n, d_out]``."""
        product: Array = values @ self.matrix
        return product if self.bias is None else product + self.bias


@dataclass(frozen=True, slots=True)
class GRUCell:
    """A gated recurrent unit, as ``torch.nn.GRUCell`` computes it.

    Attributes:
        of_input: From the input to the reset gate, the update gate and the new state, ``[d, 3 · d]``.
        of_state: The same from the state.
    """

    of_input: Dense
    of_state: Dense

    @classmethod
    def of(cls, weights: Weights, name: str) -> "GRUCell":
        """Return the cell of a name."""
        return cls(*(Dense(weights[f"{name}.weight_{end}"].T, weights[f"{name}.bias_{end}"]) for end in ("ih", "hh")))

    def __call__(self, values: Array, state: Array) -> Array:
        """Return the next state, float32 ``[n, d]``; input and state have this shape too."""
        inputs, states = np.split(self.of_input(values), 3, axis=1), np.split(self.of_state(state), 3, axis=1)
        reset, update = sigmoid(inputs[0] + states[0]), sigmoid(inputs[1] + states[1])
        new = np.tanh(inputs[2] + reset * states[2])
        following: Array = new + update * (state - new)
        return following


@dataclass(frozen=True, slots=True)
class LSTM:
    """One layer of long short-term memory, as ``torch.nn.LSTM`` computes it.

    Attributes:
        of_input: From the input to input gate, forget gate, new cell and output gate, ``[d_in, 4 · d]``.
        of_state: The same from the state.
    """

    of_input: Dense
    of_state: Dense

    @classmethod
    def of(cls, weights: Weights, name: str) -> "LSTM":
        """Return the LSTM of a name."""
        ends = ((f"{name}.weight_{end}_l0", f"{name}.bias_{end}_l0") for end in ("ih", "hh"))
        return cls(*(Dense(weights[matrix].T, weights[bias]) for matrix, bias in ends))

    def __call__(self, values: Array, state: Array, cell: Array) -> tuple[Array, Array]:
        """Return the next state and cell, float32 ``[n, d]`` each, given those before."""
        entering, kept, new, leaving = np.split(self.of_input(values) + self.of_state(state), 4, axis=1)
        cell = sigmoid(kept) * cell + sigmoid(entering) * np.tanh(new)
        return sigmoid(leaving) * np.tanh(cell), cell


def relu(values: Array) -> Array:
    """Return the positive part."""
    return np.maximum(values, np.float32(0))


def sigmoid(values: Array) -> Array:
    """Return ``1 / (1 + e^-x)``, without an overflow."""
    half = np.float32(0.5)
    shares: Array = half + half * np.tanh(half * values)
    return shares
