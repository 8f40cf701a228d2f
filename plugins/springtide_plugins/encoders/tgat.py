"""TGAT: the levels of the latest neighbours, weighted by attention to what they are and to how long ago it was."""

import math
from weakref import WeakKeyDictionary

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch_geometric.nn import Aggregation, SumAggregation
from torch_geometric.utils import softmax

from springtide.errors import SettingsError
from springtide.plugins.contracts import Edges, Encoder
from springtide.plugins.edges import NUM_EDGE_FEATURES
from springtide_plugins.encoders.dense import dense

NEWER_HALF_LIVES = (1.0, 4.0, 16.0)
"""An edge's place among its target's latest, as ``2^(-n/h)`` of the number ``n`` of newer ones."""


class TGAT(Encoder):
    """Attention of a node over its latest neighbours, by what they are and when they were chosen, plus its own level.

    Xu et al. 2020, "Inductive Representation Learning on Temporal Graphs", the temporal graph attention layer (section
    3.2): for node ``i``, its neighbours ``j``, and each head,

    ``a_ij = softmax_j((W_q h_i + b_q) · (W_k h_j + U_k e_ij) / √d_head)``, ``z_i = Σ_j a_ij (W_v h_j + U_v e_ij)``.

    The code ``e_ij`` of an edge is ``cos(age · ω) / √d_ω`` (their functional time encoding), its ``features()``, and
    its place among the latest. As in GraphMixer (Cong et al. 2023, "Do We Really Need Complicated Model Architectures
    for Temporal Networks?"), the frequencies ``ω`` are fixed, a geometric series, since learned ones make training
    unstable; and the ``num_latest`` latest neighbours are looked at alone, with all that are as old as the last of
    these.

    It differs from the paper: ages count from the newest event of the graph, not from the event that is predicted; the
    place among the latest is ours; and the heads and the node's own level times a matrix are added up, with an ELU
    between layers, where the paper has a network with one hidden layer.

    The aggregator of the paper is ``sum``. Any other one gets messages weighted by attention over the mean attention at
    their target, so that equal attention changes nothing; ``mean`` then gives the same as ``sum``.

    Args:
        width: Width of every level.
        num_layers: Number of layers.
        aggregator: Combines the weighted messages.
        heads: Number of attention heads, each with its share of the width.
        num_latest: Number of neighbours that a node looks at, the latest.
        num_frequencies: Width of the encoding of an age. From 1 to 1/10,000 radians a day: periods of 6 days and more.
        fanout: Neighbours drawn for each node in each layer of a training step, before the latest of them are taken;
            None for all of them.

    Raises:
        SettingsError: If the width is not a multiple of the number of heads.
    """

    default_aggregator = "sum"

    def __init__(
        self,
        width: int,
        num_layers: int,
        aggregator: Aggregation,
        heads: PositiveInt = 2,
        num_latest: PositiveInt = 32,
        num_frequencies: PositiveInt = 16,
        fanout: PositiveInt | None = None,
    ) -> None:
        if width % heads:
            raise SettingsError(f"encoder 'tgat': wanted a width that its {heads} heads can share, got {width}")
        super().__init__(width, num_layers, aggregator)
        self.fanout = fanout
        self.heads, self.num_latest = heads, num_latest
        self.frequencies: Tensor
        self.register_buffer("frequencies", torch.logspace(0, -4, num_frequencies))
        width_of_code = num_frequencies + NUM_EDGE_FEATURES + len(NEWER_HALF_LIVES)
        depths = range(num_layers)
        self.queries = nn.ModuleList(dense(width, width) for _ in depths)
        self.keys = nn.ModuleList(dense(width, width, has_bias=False) for _ in depths)
        self.values = nn.ModuleList(dense(width, width, has_bias=False) for _ in depths)
        self.code_keys = nn.ModuleList(dense(width_of_code, width, has_bias=False) for _ in depths)
        self.code_values = nn.ModuleList(dense(width_of_code, width, has_bias=False) for _ in depths)
        self.of_self = nn.ModuleList(dense(width, width) for _ in depths)
        for each in self.code_values:  # Learning begins with the nodes alone: codes are longer than first levels.
            nn.init.zeros_(each.get_parameter("weight"))
        self._codes_of: WeakKeyDictionary[Edges, Tensor] = WeakKeyDictionary()

    def layer(self, depth: int, sources: Tensor, targets: Tensor, edges: Edges) -> Tensor:
        """Apply one layer; see the contract for shapes."""
        latest, aggregator = edges.latest(self.num_latest), self.aggregators[depth]
        one_by_one, codes = latest.one_by_one(), self._codes(latest)
        queries, keys, values = (
            projected.view(len(projected), self.heads, self.width // self.heads).transpose(0, 1)  # [heads, n, d_head]
            for projected in (self.queries[depth](targets), self.keys[depth](sources), self.values[depth](sources))
        )
        of_code_keys, of_code_values = (
            each[depth]
            .get_parameter("weight")
            .view(self.heads, self.width // self.heads, -1)  # [heads, d_head, d_code]
            for each in (self.code_keys, self.code_values)
        )
        code_queries = queries @ of_code_keys  # [heads, num_targets, d_code]
        logits = torch.stack(
            [
                latest.products(queries[head], keys[head]) + one_by_one.products(code_queries[head], codes)
                for head in range(self.heads)
            ],
            dim=1,
        )  # [num_edges, heads]
        logits = logits / math.sqrt(self.width // self.heads)
        attention = softmax(logits, latest.target, num_nodes=latest.num_targets)
        if type(aggregator) is SumAggregation:
            # No message is made for each edge: sums of what the sources have, and of codes times a matrix.
            combined = torch.cat(
                [
                    latest.aggregate(values[head], aggregator, attention[:, head])
                    + one_by_one.aggregate(codes, aggregator, attention[:, head]) @ of_code_values[head].T
                    for head in range(self.heads)
                ],
                dim=1,
            )
        else:
            attention = attention * latest.pointers.diff()[latest.target].unsqueeze(-1)  # Its mean at a target is 1.
            messages = self.values[depth](sources).index_select(0, latest.source) + self.code_values[depth](codes)
            messages = messages * attention.repeat_interleave(self.width // self.heads, dim=1)
            combined = latest.combine(messages, aggregator, torch.ones_like(latest.weight))
        updated: Tensor = combined + self.of_self[depth](targets)
        return updated if depth == self.num_layers - 1 else nn.functional.elu(updated)

    def _codes(self, edges: Edges) -> Tensor:
        """Return the code of each edge, float32 ``[num_edges, d_code]``; kept as long as the edges are."""
        codes = self._codes_of.get(edges)
        if codes is None:
            waves = torch.cos(edges.age_days.unsqueeze(-1) * self.frequencies) / math.sqrt(len(self.frequencies))
            half_lives = edges.age_days.new_tensor(NEWER_HALF_LIVES)
            places = torch.exp2(-edges.newer().unsqueeze(-1) / half_lives)
            codes = self._codes_of[edges] = torch.cat([waves, edges.features(), places], dim=1)
        return codes
