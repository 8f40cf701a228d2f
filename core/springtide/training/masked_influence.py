"""What each neighbour adds to the cosine of user and item, by masks over their edges: ``torch_geometric.explain``.

It is the offline way beside ``explaining.influence``, which takes one neighbour away at a time. Here all edges fade
together, so that two neighbours that say the same share what they add, and neither looks as if it did not matter.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.explain import Explainer, GNNExplainer
from torch_geometric.explain.algorithm.utils import clear_masks, set_masks
from torch_geometric.nn import Aggregation, MessagePassing

from springtide.errors import ModelError
from springtide.explaining.influence import NeighbourInfluence, Side, sides_of
from springtide.model.artifact import known_nodes, make_encoder
from springtide.model.registry import ModelArtifact
from springtide.plugins.contracts import Edges, Encoder
from springtide.plugins.loading import Plugins
from springtide.ranking.binding import BoundQuery
from springtide.ranking.scoring import Scorer
from springtide.settings.model import ModelSettings

_STEPS = 300
_RATE = 0.05
_SEED = 0


def masked_influences(
    scorer: Scorer, query: BoundQuery, row: int, artifact: ModelArtifact, plugins: Plugins
) -> tuple[NeighbourInfluence, ...]:
    """Return what the neighbours of user and item add to their cosine, by GNNExplainer, the largest first.

    The training's encoder folds user and item in from the same neighbours as a server does; what is behind these stays
    as the model has it. PyG's GNNExplainer (Ying et al. 2019) learns a mask ``m`` between 0 and 1 for each edge, so
    that user and item fit each other as well as they can ("phenomenon", with the cosine as the logit), while a bonus
    of ``T`` times the entropy of the masks keeps them between 0 and 1. It is the mean-field form of their method (their
    section 4.2): each edge is there by chance, with probability ``m``. Where it has converged,
    ``T · ln(m / (1 - m))`` is the slope of the logit's log-likelihood along the edge's mask. Over the slope along the
    cosine, this is ``influence``: how much the cosine rises with the edge, above 0 where it speaks for the item, below
    0 where it speaks against it. ``T`` is such that the strongest mask is about 0.7. Their penalty for the number of
    edges is left out: it would make all but a few masks the same, and 0.

    As in PyG's own layers, an attention's other shares do not grow while one edge fades (encoder ``gat``, aggregators
    with a softmax). Among neighbours that say nearly the same, their order may then be another than that of
    ``neighbour_influences``.

    Args:
        scorer: Scores the items with the model.
        query: The query.
        row: The explained item.
        artifact: The model.
        plugins: Make its encoder for training.

    Returns:
        The neighbours; nothing if there are none, or a baseline ranks.

    Raises:
        ModelError: If the encoder's edges cannot be masked, or the scorer serves another model.
    """
    table, sides = scorer.serving.table, sides_of(scorer, query, row)
    if table is None or not any(len(side.neighbourhood.target) for side in sides):
        return ()
    if table.model.version != artifact.manifest.version:
        raise ModelError(f"wanted model {table.model.version}, which serves, got {artifact.manifest.version}")
    settings = ModelSettings.model_validate(artifact.manifest.settings["model"])
    with torch.random.fork_rng(devices=[]):  # The masks begin at random, and so do an encoder's weights.
        torch.manual_seed(_SEED)
        pair = _PairCosine(_encoder_of(artifact, settings, plugins), sides, table.model.schema.node_types)
        slopes = _influences(pair, settings.encoder.name)
    found: list[NeighbourInfluence] = []
    first = 0
    for side in sides:
        attention = side.attention()
        for edge in range(len(side.neighbourhood.target)):
            node, relation = side.name(edge)
            share = None if attention is None else float(attention[edge])
            found.append(NeighbourInfluence(side.side, node, relation, float(slopes[first + edge]), share))
        first += len(side.neighbourhood.target)
    return tuple(sorted(found, key=lambda each: -each.influence))


def _encoder_of(artifact: ModelArtifact, settings: ModelSettings, plugins: Plugins) -> Encoder:
    """Return the encoder of a model, with its weights, which do not learn."""
    encoder = make_encoder(settings, known_nodes(artifact).schema, plugins)
    prefix = "encoder."
    weights = {name: array for name, array in artifact.tensors.items() if name.startswith(prefix)}
    encoder.load_state_dict({name.removeprefix(prefix): torch.from_numpy(np.array(weights[name])) for name in weights})
    return encoder.requires_grad_(False).eval()


def _influences(pair: "_PairCosine", name: str) -> Tensor:
    """Return the influence of each edge, float32 ``[num_edges]``; see ``masked_influences``.

    Args:
        pair: The cosine.
        name: The encoder's name, for an error.

    Raises:
        ModelError: If the edges cannot be masked.
    """
    nodes, edge_index = pair.nodes, pair.edge_index
    scale = _scale(pair, name)
    if not scale:  # No edge says anything.
        return torch.zeros(edge_index.shape[1])
    bonus = scale * edge_index.shape[1]
    algorithm = GNNExplainer(_STEPS, _RATE, edge_size=0.0, edge_ent=-bonus)
    explainer = Explainer(
        pair,
        algorithm,
        explanation_type="phenomenon",
        model_config={"mode": "binary_classification", "task_level": "graph", "return_type": "raw"},
        edge_mask_type="object",
    )
    mask = explainer(nodes, edge_index, target=torch.ones(1)).edge_mask
    cosine = explainer.get_masked_prediction(nodes, edge_index, edge_mask=mask)
    is_used = mask > 0  # The others have no gradient, and PyG sets their masks to 0.
    slopes = bonus / is_used.sum() * torch.logit(mask) / torch.sigmoid(-cosine)
    return torch.where(is_used, slopes, 0.0)


def _scale(pair: "_PairCosine", name: str) -> float:
    """Return the greatest slope of the log-likelihood along a mask, where all masks are a half.

    Raises:
        ModelError: If no mask has a gradient.
    """
    logits = nn.Parameter(torch.zeros(pair.edge_index.shape[1]))
    pair.has_whole_degree = True  # A degree that fades is no message that does.
    set_masks(pair, logits, pair.edge_index)
    try:
        cosine = pair(pair.nodes, pair.edge_index)
        (gradient,) = torch.autograd.grad(cosine, logits, allow_unused=True) if cosine.requires_grad else (None,)
    finally:
        clear_masks(pair)
        pair.has_whole_degree = False
    if gradient is None:
        raise ModelError(
            f"encoder {name!r}: its edges cannot be masked: wanted one that combines messages by edges.aggregate, "
            "edges.combine or a MessagePassing layer of PyG"
        )
    return float(
        gradient.abs().max() / 0.25 * torch.sigmoid(-cosine.detach())
    )  # 0.25 is the slope of a mask along its logit.


class _PairCosine(nn.Module):
    """The cosine of one item and one user, folded in from their neighbours by an encoder whose edges can be masked.

    Args:
        encoder: The encoder.
        sides: The neighbours of the item and of the user.
        node_types: Node types of the schema.

    Attributes:
        nodes: float32 ``[2 + num_edges, d]``, level 0 of the item, the user and the neighbour of each edge.
        edge_index: int64 ``[2, num_edges]``, from its neighbour to the item or the user, for each edge.
        has_whole_degree: Whether the degrees of item and user are those without a mask.
    """

    def __init__(self, encoder: Encoder, sides: Sequence[Side], node_types: Sequence[str]) -> None:
        super().__init__()
        self.encoder = encoder
        self.has_whole_degree = False
        self._masks = _Masks()
        of = [side.neighbourhood for side in sides]
        targets = np.repeat(np.arange(len(of)), [len(each.target) for each in of])
        self._target = torch.from_numpy(targets)
        levels = torch.from_numpy(np.concatenate([each.levels for each in of], axis=1))
        self._levels = levels[1:]
        self.nodes = torch.cat([*(torch.from_numpy(np.array(side.level_0)) for side in sides), levels[0]])
        self.edge_index = torch.stack([torch.arange(len(targets)) + len(of), self._target])
        self._weight, self._age_days, degree = (
            torch.from_numpy(np.concatenate([getattr(each, name) for each in of]))
            for name in ("weight", "age_days", "degree")
        )
        self._source_degree = torch.maximum(degree, self._weight)
        self._relation = self._source_type = self._target_type = None
        if encoder.is_relational:
            self._relation, self._source_type = (
                torch.from_numpy(np.concatenate([getattr(each, name) for each in of]))
                for name in ("relation", "source_type")
            )
            self._target_type = torch.tensor([node_types.index(side.node_type) for side in sides])

    def forward(self, nodes: Tensor, edge_index: Tensor) -> Tensor:
        """Return the cosine, float32 ``[1]``; for the arguments, see the attributes of the same names."""
        mask = self._masks(nodes, edge_index)
        counted = self._weight if self.has_whole_degree else self._weight * mask
        num_targets = len(nodes) - len(mask)
        edges = _MaskedEdges(
            torch.arange(len(mask)),
            self._target,
            self._weight,
            self._age_days,
            self._source_degree,
            torch.zeros(num_targets).index_add(0, self._target, counted),
            self._relation,
            self._source_type,
            self._target_type,
        ).masked(mask)
        sources = [nodes[num_targets:], *self._levels]
        levels = [nodes[:num_targets]]
        for depth in range(self.encoder.num_layers):
            levels.append(self.encoder.layer(depth, sources[depth], levels[-1], edges))
        item, user = F.normalize(self.encoder.readout(levels), dim=-1)
        cosine: Tensor = (item * user).sum().unsqueeze(0)
        return cosine


class _Masks(MessagePassing):  # type: ignore[misc]  # PyG carries no types
    """A layer whose messages are 1 and are not combined: what comes out is PyG's mask of each edge."""

    def forward(self, nodes: Tensor, edge_index: Tensor) -> Tensor:
        """Return float32 ``[num_edges]``, 1 for each edge if no masks are set."""
        masks: Tensor = self.propagate(edge_index, ones=nodes.new_ones(len(nodes), 1)).squeeze(-1)
        return masks

    def message(self, ones_j: Tensor) -> Tensor:
        """Return 1 for each edge; PyG multiplies it by the edge's mask."""
        return ones_j

    def aggregate(self, inputs: Tensor) -> Tensor:
        """Return the messages as they are."""
        return inputs


class _MaskedEdges(Edges):
    """Edges whose messages count as much as their masks say."""

    _mask: Tensor

    def masked(self, mask: Tensor) -> "_MaskedEdges":
        """Set the masks, float32 ``[num_edges]``, and return the edges themselves."""
        self._mask = mask
        return self

    def aggregate(self, values: Tensor, aggregator: Aggregation, weight: Tensor | None = None) -> Tensor:
        """Combine, at each target, the values of its sources."""
        return super().aggregate(values, aggregator, (self.counted_weight() if weight is None else weight) * self._mask)

    def combine(self, messages: Tensor, aggregator: Aggregation, weight: Tensor | None = None) -> Tensor:
        """Combine, at each target, the messages of its edges."""
        return super().combine(messages, aggregator, (self.counted_weight() if weight is None else weight) * self._mask)

    def one_by_one(self) -> Edges:
        """Return the same edges, each from a source of its own, under the same masks."""
        own = super().one_by_one()
        columns = (own.source, own.target, own.weight, own.age_days, own.source_degree, own.target_degree)
        return _MaskedEdges(*columns).masked(self._mask)

    def _select(self, chosen: Tensor, stands_for: Tensor | None = None) -> Edges:
        some = super()._select(chosen, stands_for)
        columns = (some.source, some.target, some.weight, some.age_days, some.source_degree, some.target_degree)
        types = (some.relation, some.source_type, some.target_type, some.stands_for)
        return _MaskedEdges(*columns, *types).masked(self._mask[chosen])
