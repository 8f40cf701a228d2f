"""Small data whose best recommendations are known, and states, graphs and models made from it.

The data: even users chose even items and odd users odd ones, but the diagonal is withheld. So item ``i`` is the best
unseen item of user ``i``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from springtide.clock import MS_PER_HOUR
from springtide.events.model import EventBatch, Interactions, NodeUpsert
from springtide.graph.applying import ITEM, USER
from springtide.interactions import History, Moment, Observed
from springtide.model.registry import ModelArtifact
from springtide.plugins.contracts import LossInputs, Shortlist
from springtide.plugins.loading import Plugins, load_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import PluginSettings, Settings
from springtide.state import LiveState
from springtide.training.graph import Nodes, TrainingGraph
from springtide.training.train import train

START_MS = 1_700_000_000_000
"""Time of the first made-up event: 2023-11-14 22:13:20 UTC."""


QUICK: dict[str, Any] = {
    "model": {"width": 16, "loss": {"name": "cce"}},
    "training": {
        "steps": 60,
        "fine_tune_steps": 20,
        "min_passes": 0.0,
        "batch_users": 64,
        "edges_per_user": 8,
        "num_negatives": 64,
        "min_interactions": 10,
        "num_threads": 1,
        "edge_half_life_days": None,
    },
    "ranking": {"context_weights": {}},
}
"""Settings of a model that trains in a fraction of a second and ranks by cosine alone.

The loss is the one that needs the fewest steps, whatever the default is.
"""


def quick_settings(**sections: dict[str, Any]) -> Settings:
    """Return settings for quick trainings, with some keys replaced: ``quick_settings(model={"width": 8})``."""
    merged = {name: {**QUICK.get(name, {}), **sections.get(name, {})} for name in {**QUICK, **sections}}
    return Settings.model_validate(merged)


def interactions_of(events: Iterable[tuple[str, str, int]], relation: str = "purchase") -> Interactions:
    """Return interactions as columns.

    Args:
        events: (user id, item id, milliseconds since the Unix epoch).
        relation: Interaction type of all events.
    """
    rows = list(events)
    user_ids = list(dict.fromkeys(user for user, _, _ in rows))
    item_ids = list(dict.fromkeys(item for _, item, _ in rows))
    user_codes = {user: code for code, user in enumerate(user_ids)}
    item_codes = {item: code for code, item in enumerate(item_ids)}
    return Interactions(
        user_ids=user_ids,
        user_codes=np.array([user_codes[user] for user, _, _ in rows], np.int32),
        item_ids=item_ids,
        item_codes=np.array([item_codes[item] for _, item, _ in rows], np.int32),
        relations=[relation],
        relation_codes=np.zeros(len(rows), np.int16),
        timestamps_ms=np.array([time for _, _, time in rows], np.int64),
        values=np.full(len(rows), np.nan, np.float32),
    )


def observed_of(events: Iterable[tuple[int, int, int]], weight: float = 1.0) -> Observed:
    """Return interactions as context weights observe them, with one weight for all.

    Args:
        events: (user row, item row, milliseconds since the Unix epoch).
        weight: Weight of each interaction.
    """
    rows = np.array(list(events), np.int64).reshape(-1, 3)
    return Observed(
        rows[:, 0].astype(np.int32), rows[:, 1].astype(np.int32), rows[:, 2], np.full(len(rows), weight, np.float32)
    )


def history_of(events: Iterable[tuple[int, int]]) -> History:
    """Return a user's history from events (item row, milliseconds since the Unix epoch) in any order."""
    rows = np.array(sorted(events, key=lambda event: -event[1]), np.int64).reshape(-1, 2)
    return History(rows[:, 0].astype(np.int32), rows[:, 1], np.ones(len(rows), np.float32))


def loss_inputs_of(
    positive: Sequence[float],
    negative: Sequence[Sequence[float]],
    is_seen: Sequence[Sequence[bool]] | None = None,
    user: Sequence[int] | None = None,
    weight: Sequence[float] | None = None,
) -> LossInputs:
    """Return the inputs of a loss from a few cosines; change the other fields with ``dataclasses.replace``.

    Args:
        positive: Cosine of each edge.
        negative: For each user the cosines with the sampled items.
        is_seen: For each user which of the sampled items are seen; None for no seen items.
        user: The user of each edge; None for user 0 with edge 0, and so on.
        weight: Weight of each edge; None for 1.
    """
    num_edges, num_users, num_negatives = len(positive), len(negative), len(negative[0])
    return LossInputs(
        positive=torch.tensor(positive),
        user=torch.arange(num_edges) if user is None else torch.tensor(user),
        weight=torch.ones(num_edges) if weight is None else torch.tensor(weight),
        negative=torch.tensor(negative),
        is_seen=torch.zeros(num_users, num_negatives, dtype=torch.bool) if is_seen is None else torch.tensor(is_seen),
        positive_log_q=torch.zeros(num_edges),
        negative_log_q=torch.zeros(num_negatives),
        strength=torch.ones(num_edges),
        item=torch.arange(num_edges),
        user_vectors=torch.zeros(num_users, 1),
        item_vectors=torch.zeros(num_edges, 1),
    )


def even_odd_events(size: int = 24, seed: int = 0) -> list[tuple[str, str, int]]:
    """Return (user id, item id, time) of users ``u0``, ``u1`` … and items ``i0``, ``i1`` …, ``size`` of each.

    Even users chose even items and odd users odd ones, but the diagonal is withheld. The order is random, and events
    are an hour apart.
    """
    pairs = [(user, item) for user in range(size) for item in range(user % 2, size, 2) if user != item]
    order = np.random.default_rng(seed).permutation(len(pairs))
    return [
        (f"u{pairs[index][0]}", f"i{pairs[index][1]}", START_MS + hour * MS_PER_HOUR)
        for hour, index in enumerate(order.tolist())
    ]


def state_of(
    events: Iterable[tuple[str, str, int]] = (),
    settings: Settings | None = None,
    plugins: Plugins | None = None,
    upserts: Sequence[NodeUpsert] = (),
    relation: str = "purchase",
) -> LiveState:
    """Return a live state with nodes and events applied, and with the context weights of the settings.

    Args:
        events: (user id, item id, milliseconds since the Unix epoch).
        settings: Settings; ``quick_settings()`` if None.
        plugins: Plugins that offer the context weights; the built-in ones and those installed if None.
        upserts: Nodes, applied before the events.
        relation: Interaction type of the events.
    """
    settings = settings or quick_settings()
    plugins = plugins or load_plugins(PluginSettings())
    state = LiveState(settings, make_context_weights(settings.ranking, plugins))
    state.apply(EventBatch(interactions_of((), relation), upserts=upserts))
    state.apply(EventBatch(interactions_of(events, relation)))
    return state


def even_odd_state(size: int = 24, settings: Settings | None = None, plugins: Plugins | None = None) -> LiveState:
    """Return a live state with ``even_odd_events``; user ``u3`` and item ``i3`` have row 3, and so on."""
    upserts = [NodeUpsert(kind, f"{kind[0]}{row}") for kind in (USER, ITEM) for row in range(size)]
    return state_of(even_odd_events(size), settings, plugins, upserts)


def training_graph_of(
    state: LiveState, half_life_days: float | None = None, *, is_relational: bool = False
) -> TrainingGraph:
    """Return the graph that a training reads from a state."""
    view = state.graph.view()
    nodes = Nodes.of(view, state.rules.item_type, is_relational=is_relational)
    return TrainingGraph.build(nodes, state.positive_interactions(view), half_life_days)


def quick_model(
    state: LiveState,
    settings: Settings | None = None,
    plugins: Plugins | None = None,
    base: ModelArtifact | None = None,
) -> ModelArtifact:
    """Return a model trained on a state, or fine-tuned from ``base``: the same every time."""
    return train(
        state,
        settings or quick_settings(),
        plugins or load_plugins(PluginSettings()),
        mode="retrain" if base is None else "fine_tune",
        base=base,
    )


@dataclass(frozen=True, slots=True, eq=False)
class GivenAttributes:
    """Attributes of the items of a shortlist, as they are given; see ``ShortlistAttributes``.

    Attributes:
        num_items: Number of items.
        of_categories: By name, the values of each item.
        of_numbers: By name, the number of each item, NaN where it has none.
        of_texts: By name, the text of each item.
    """

    num_items: int
    of_categories: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    of_numbers: Mapping[str, Sequence[float]] = field(default_factory=dict)
    of_texts: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def categories(self, name: str) -> list[tuple[str, ...]]:
        """Return the values of a category of each item; empty where it has none."""
        return [tuple(values) for values in self.of_categories.get(name, [()] * self.num_items)]

    def numbers(self, name: str) -> npt.NDArray[np.float32]:
        """Return a number of each item, float32 ``[n]``, NaN where it has none."""
        return np.array(self.of_numbers.get(name, [np.nan] * self.num_items), np.float32)

    def texts(self, name: str) -> list[str]:
        """Return a text of each item; empty where it has none."""
        return list(self.of_texts.get(name, [""] * self.num_items))


def shortlist_of(
    item_ids: Sequence[str],
    scores: npt.ArrayLike | None = None,
    vectors: npt.NDArray[np.float32] | None = None,
    categories: Mapping[str, Sequence[Sequence[str]]] | None = None,
    numbers: Mapping[str, Sequence[float]] | None = None,
    texts: Mapping[str, Sequence[str]] | None = None,
) -> Shortlist:
    """Return a shortlist for a reranker, of a user without an id.

    Args:
        item_ids: The items.
        scores: float32 ``[n]``, highest first; all 0 if None.
        vectors: float32 ``[n, d]``; without a model if None.
        categories: By name, the values of each item.
        numbers: By name, the number of each item.
        texts: By name, the text of each item.
    """
    num_items = len(item_ids)
    of_items = np.zeros(num_items, np.float32) if scores is None else np.asarray(scores, np.float32)
    vectors = np.empty((num_items, 0), np.float32) if vectors is None else vectors
    attributes = GivenAttributes(num_items, categories or {}, numbers or {}, texts or {})
    cosines = np.zeros(num_items, np.float32)
    return Shortlist(tuple(item_ids), of_items, cosines, vectors, attributes, "", Moment(START_MS))
