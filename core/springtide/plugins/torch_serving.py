"""An encoder that serves by torch, because it or an aggregator of it has no serving half.

Only ``Plugins.make_serving_encoder`` imports this module, when such a model is loaded.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from springtide.plugins.contracts import Edges, Encoder, Schema
from springtide.plugins.contracts.serving import Array, ServingEncoder, Weights
from springtide.plugins.part import Part
from springtide.plugins.parts import Plugins
from springtide.plugins.serving_edges import ServingEdges
from springtide.settings.model import ModelSettings


class TorchServingEncoder(ServingEncoder):
    """The training half of an encoder, behind the contract of a serving half.

    Args:
        model: Settings of the model.
        schema: Types of nodes and edges of the model.
        weights: Parameters of the encoder.
        plugins: Plugins that offer its parts.
        without_half: The parts without a serving half.

    Raises:
        UnknownPartError: If no plugin offers one of its parts.
        SettingsError: If one does not take its options, or they do not fit each other.
        RuntimeError: If the weights do not fit.
    """

    def __init__(
        self, model: ModelSettings, schema: Schema, weights: Weights, plugins: Plugins, without_half: Sequence[Part]
    ) -> None:
        super().__init__(model.width, model.num_layers, (), weights)
        self.parts_with_torch = tuple(f"{part} of {part.origin}" for part in without_half)
        aggregator = plugins.make("aggregator", plugins.aggregator_of(model), width=model.width)
        self._encoder: Encoder = plugins.make(
            "encoder",
            model.encoder,
            width=model.width,
            num_layers=model.num_layers,
            aggregator=aggregator,
            schema=schema,
        )
        self._encoder.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
        self._encoder.eval()

    @torch.no_grad()
    def layer(self, depth: int, sources: Array, targets: Array, edges: ServingEdges) -> Array:
        """Apply one layer; see the contract for shapes."""
        level: Array = self._encoder.layer(depth, _tensor(sources), _tensor(targets), _edges(edges)).numpy()
        return level

    @torch.no_grad()
    def readout(self, levels: Sequence[Array]) -> Array:
        """Combine the levels; see the contract for shapes."""
        vectors: Array = self._encoder.readout([_tensor(level) for level in levels]).numpy()
        return vectors


def _edges(edges: ServingEdges) -> Edges:
    columns = (edges.relation, edges.source_type, edges.target_type, edges.stands_for)
    return Edges(
        torch.from_numpy(edges.source),
        torch.from_numpy(edges.target),
        _tensor(edges.weight),
        _tensor(edges.age_days),
        _tensor(edges.source_degree),
        _tensor(edges.target_degree),
        *(None if column is None else torch.from_numpy(column) for column in columns),
    )


def _tensor(array: Array) -> Tensor:
    if not array.flags.writeable:  # Torch warns of such: it cannot promise not to write.
        array = array.copy()
    return torch.from_numpy(array)
