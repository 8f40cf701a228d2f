"""The loop that fits a temporal graph network, with PyG's memory; a fitted baseline serves without it."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F
from torch_geometric.nn import TransformerConv
from torch_geometric.nn.models.tgn import IdentityMessage, LastAggregator, TGNMemory

from springtide.plugins.contracts import Observed

_NUM_CODE = 16  # Dimensions of an item's random code.
_DROPOUT = 0.1
_MS_PER_S = 1_000

Array = npt.NDArray[np.float32] | npt.NDArray[np.float64] | npt.NDArray[np.int64]


class Options(Protocol):
    """Options of the fit, as ``TGN`` documents them."""

    width: int
    neighbours: int
    max_events: int
    epochs: int
    batch_events: int
    learning_rate: float
    seed: int


@dataclass(frozen=True, slots=True)
class Stream:
    """Events in time order, and those of each node; users are nodes before items.

    PyG's ``LastNeighborLoader`` keeps any events of a node that has more of them in a batch than it keeps, not the
    latest ones: hence this one.

    Attributes:
        users: int64 ``[n]``.
        items: int64 ``[n]``.
        times_s: int64 ``[n]``, seconds since the first event.
        keys: int64 ``[2 * n]``, node times ``n`` plus position of the event, ascending.
        others: int64 ``[2 * n]``, the node at the other end of each of these.
    """

    users: Tensor
    items: Tensor
    times_s: Tensor
    keys: Tensor
    others: Tensor

    @classmethod
    def of(cls, interactions: Observed, num_users: int, max_events: int) -> "Stream":
        """Return the newest events of interactions."""
        newest = slice(max(0, len(interactions) - max_events), None)
        times_ms = interactions.timestamps_ms[newest]
        columns = interactions.user_rows[newest], interactions.item_rows[newest], (times_ms - times_ms[0]) // _MS_PER_S
        users, items, times_s = (torch.from_numpy(column.astype(np.int64)) for column in columns)
        num = len(users)
        ends = torch.cat([users, items + num_users]), torch.cat([items + num_users, users])
        keys, order = (ends[0] * num + torch.arange(num).repeat(2)).sort()
        return cls(users, items, times_s, keys, ends[1][order])

    def latest(self, nodes: Tensor, count: int, before: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the latest events of nodes: index of the node, node at the other end, and event, int64 ``[m]`` each.

        Args:
            nodes: int64 ``[n]``.
            count: At most so many of each.
            before: Position of the first event that is not known yet.
        """
        num = len(self.users)
        ends = torch.searchsorted(self.keys, nodes * num + before)
        places = ends[:, None] - 1 - torch.arange(count)  # [n, count]
        is_there = places >= torch.searchsorted(self.keys, nodes * num)[:, None]
        places = places[is_there]
        return is_there.nonzero()[:, 0], self.others[places], self.keys[places] % num


class Network(torch.nn.Module):
    """Memories, attention over the latest events, and the link predictor; users come before items.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        options: Options of the fit.
    """

    def __init__(self, num_users: int, num_items: int, options: Options) -> None:
        super().__init__()
        width, num_nodes = options.width, num_users + num_items
        self.num_users = num_users
        message = IdentityMessage(_NUM_CODE, width, width)
        self.memory = TGNMemory(num_nodes, _NUM_CODE, width, width, message, LastAggregator())
        with torch.no_grad():  # From seconds to decades, as the authors' code sets it up.
            self.memory.time_enc.lin.weight.copy_(10.0 ** -torch.linspace(0.0, 9.0, width)[:, None])
            self.memory.time_enc.lin.bias.zero_()
        self.features = torch.nn.Embedding(num_items, width)
        torch.nn.init.normal_(self.features.weight, std=0.1)
        self.attention = TransformerConv(width, -(-width // 2), heads=2, dropout=_DROPOUT, edge_dim=width + _NUM_CODE)
        embedded = 2 * -(-width // 2)
        self.link_user = torch.nn.Linear(embedded, width)
        self.link_item = torch.nn.Linear(embedded, width)
        self.out = torch.nn.Linear(width, 1)
        self.codes = F.normalize(torch.randn(num_items, _NUM_CODE), dim=1)
        self.neighbours = options.neighbours

    def embedded(self, nodes: Tensor, stream: Stream, before: int) -> Tensor:
        """Return the embeddings of nodes before an event, float32 ``[n, width]``; the memories are as of then.

        Args:
            nodes: int64 ``[n]``.
            stream: All events.
            before: Position of the first event that is not known yet.
        """
        index, others, events = stream.latest(nodes, self.neighbours, before)
        involved, places = torch.unique(torch.cat([nodes, others]), return_inverse=True)
        edges = torch.stack([places[len(nodes) :], places[index]])
        memory, updated_s = self.memory(involved)
        is_item = involved >= self.num_users
        features = self.features(torch.where(is_item, involved - self.num_users, 0)) * is_item[:, None]
        ages = self.memory.time_enc((updated_s[edges[0]] - stream.times_s[events]).to(memory.dtype))
        of_event = torch.cat([ages, self.codes[stream.items[events]]], dim=1)
        embedded: Tensor = self.attention(memory + features, edges, of_event)
        return embedded[places[: len(nodes)]]

    def logits(self, users: Tensor, items: Tensor) -> Tensor:
        """Return the logits of links between embeddings ``[n, width]``, float32 ``[n]``."""
        logits: Tensor = self.out((self.link_user(users) + self.link_item(items)).relu())
        return logits.squeeze(1)

    def take(self, users: Tensor, items: Tensor, times_s: Tensor) -> None:
        """Let events enter the memories."""
        self.memory.update_state(users, items + self.num_users, times_s, self.codes[items])


def fitted_arrays(interactions: Observed, num_users: int, num_items: int, options: Options) -> dict[str, Array]:
    """Return weights and memories by their names in ``TGN``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        network = Network(num_users, num_items, options)
        stream = Stream.of(interactions, num_users, options.max_events)
        fit(network, stream, options)
        span_ms = interactions.timestamps_ms[[-len(stream.users), -1]]
        return {**arrays_of(network, stream), "span_ms": span_ms}


def fit(network: Network, stream: Stream, options: Options) -> None:
    """Train on the stream in time order; the memories are those at its end then."""
    num, num_items = len(stream.users), len(network.codes)
    optimizer = torch.optim.Adam(network.parameters(), lr=options.learning_rate)
    network.train()
    for _ in range(options.epochs):
        network.memory.reset_state()
        for first in range(0, num, options.batch_events):
            part = slice(first, first + options.batch_events)
            users, items, times_s = stream.users[part], stream.items[part], stream.times_s[part]
            drawn = torch.randint(num_items, items.shape)
            ends = torch.cat([users, items + network.num_users, drawn + network.num_users])
            nodes, places = torch.unique(ends, return_inverse=True)
            user, item, other = network.embedded(nodes, stream, first)[places].view(3, len(drawn), -1)
            right, wrong = network.logits(user, item), network.logits(user, other)
            loss = F.softplus(-right).mean() + F.softplus(wrong).mean()
            optimizer.zero_grad()
            network.take(users, items, times_s)
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own
            optimizer.step()
            network.memory.detach()
    network.eval()  # The last messages enter the memories.


@torch.no_grad()
def arrays_of(network: Network, stream: Stream) -> dict[str, Array]:
    """Return what a request needs of a trained network at the end of the stream."""
    num_users, memory, attention = network.num_users, network.memory, network.attention
    all_items = torch.arange(num_users, memory.num_nodes)
    hidden = network.link_item(network.embedded(all_items, stream, len(stream.users)))
    updated_s = memory.last_update.double()
    learned = {
        "user_memory": memory.memory[:num_users],
        "user_updated_s": updated_s[:num_users, None],
        "item_memory": memory.memory[num_users:],
        "item_updated_s": updated_s[num_users:],
        "item_features": network.features.weight,
        "item_codes": network.codes,
        "item_hidden": hidden,
        "edge": attention.lin_edge.weight,
        "gru_in": memory.gru.weight_ih,
        "gru_in_bias": memory.gru.bias_ih,
        "gru_own": memory.gru.weight_hh,
        "gru_own_bias": memory.gru.bias_hh,
    }
    layers = {
        "time": memory.time_enc.lin,
        "query": attention.lin_query,
        "key": attention.lin_key,
        "value": attention.lin_value,
        "skip": attention.lin_skip,
        "link": network.link_user,
        "out": network.out,
    }
    for name, layer in layers.items():
        learned["time_weight" if name == "time" else name] = layer.weight
        learned[f"{name}_bias"] = layer.bias
    return {name: tensor.numpy().copy() for name, tensor in learned.items()}
