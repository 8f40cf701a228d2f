"""The graph that a training reads: interactions in time order, and the edges they add up to."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from springtide.clock import MS_PER_DAY
from springtide.graph.nodes import NodeTable
from springtide.plugins.contracts import Observed
from springtide.plugins.edges import Edges


@dataclass(frozen=True, slots=True)
class Attributes:
    """Category attributes of the nodes of one type, as pairs of node and value.

    Attributes:
        vocabulary: All values of all attributes, each as ``attribute=value``; a value's code is its position.
        node_rows: int64 ``[num_pairs]``.
        codes: int64 ``[num_pairs]``, positions in ``vocabulary``.
        num_nodes: How many nodes there are, with or without attributes.
    """

    vocabulary: Sequence[str]
    node_rows: npt.NDArray[np.int64]
    codes: npt.NDArray[np.int64]
    num_nodes: int

    @classmethod
    def of(cls, nodes: NodeTable, num_nodes: int, known: Sequence[str] = ()) -> "Attributes":
        """Read the category attributes of the first ``num_nodes``; values in ``known`` keep their codes."""
        codes_by_value = {value: code for code, value in enumerate(known)}
        rows, codes = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for name, column in sorted(nodes.categories.items()):
            node_rows, own_codes = column.pairs()
            is_in_view = node_rows < num_nodes
            values = [f"{name}={value}" for value in column.vocabulary.all_ids()]
            translation = np.array(
                [codes_by_value.setdefault(value, len(codes_by_value)) for value in values], np.int64
            )
            rows.append(node_rows[is_in_view].astype(np.int64))
            codes.append(translation[own_codes[is_in_view]] if len(own_codes) else np.zeros(0, np.int64))
        return cls(tuple(codes_by_value), np.concatenate(rows), np.concatenate(codes), num_nodes)

    def edges(self, num_codes: int) -> Edges:
        """Return the edges from the first ``num_codes`` values to nodes, each node's adding up to 1."""
        is_known = self.codes < num_codes
        rows, codes = self.node_rows[is_known], self.codes[is_known]
        order = np.argsort(rows, kind="stable")
        per_node = np.bincount(rows, minlength=self.num_nodes)
        weight = torch.from_numpy((1.0 / per_node[rows[order]]).astype(np.float32))
        return Edges(
            source=torch.from_numpy(codes[order]),
            target=torch.from_numpy(rows[order]),
            weight=weight,
            age_days=torch.zeros_like(weight),
            source_degree=torch.ones(num_codes),
            target_degree=torch.ones(self.num_nodes),
        )


@dataclass(frozen=True, slots=True)
class TrainingGraph:
    """Users and items as one list of nodes (users first), and what is between them.

    Attributes:
        num_users: Number of user rows.
        num_items: Number of item rows; item ``i`` is node ``num_users + i``.
        interactions: Positive interactions, oldest first.
        edges: Both directions of every user-item pair once, weights added up and dampened; see ``pair_weight``.
        attributes: By node type, ``user`` and ``item``.
    """

    num_users: int
    num_items: int
    interactions: Observed
    edges: Edges
    attributes: Mapping[str, Attributes]

    @classmethod
    def build(
        cls,
        interactions: Observed,
        attributes: Mapping[str, Attributes],
        half_life_days: float | None,
    ) -> "TrainingGraph":
        """Add interactions up to edges.

        Args:
            interactions: Positive interactions, oldest first; at least one.
            attributes: By node type; their ``num_nodes`` are the numbers of rows.
            half_life_days: How fast an edge fades with its age; None for never.
        """
        num_users, num_items = attributes["user"].num_nodes, attributes["item"].num_nodes
        newest_ms = int(interactions.timestamps_ms[-1])
        keys = interactions.user_rows.astype(np.int64) * num_items + interactions.item_rows
        pairs, inverse = np.unique(keys, return_inverse=True)
        ages_days = (newest_ms - interactions.timestamps_ms) / MS_PER_DAY
        faded = fade(interactions.weights, ages_days, half_life_days)
        totals = np.bincount(inverse, faded).astype(np.float64)
        last_age_days = np.zeros(len(pairs))
        last_age_days[inverse] = ages_days  # Interactions are in time order: the last one stays.
        users, items = pairs // num_items, pairs % num_items
        weight = pair_weight(totals)
        source = np.concatenate([items + num_users, users])
        target = np.concatenate([users, items + num_users])
        order = np.argsort(target, kind="stable")
        num_nodes = num_users + num_items
        both = np.concatenate([weight, weight])
        degree = torch.from_numpy(np.bincount(target, both, minlength=num_nodes).astype(np.float32))
        edges = Edges(
            source=torch.from_numpy(source[order]),
            target=torch.from_numpy(target[order]),
            weight=torch.from_numpy(both[order].astype(np.float32)),
            age_days=torch.from_numpy(np.concatenate([last_age_days, last_age_days])[order].astype(np.float32)),
            source_degree=degree,
            target_degree=degree,
        )
        return cls(num_users, num_items, interactions, edges, attributes)

    def to(self, device: str) -> "TrainingGraph":
        """Return the graph with its edges on a device."""
        return dataclasses.replace(self, edges=self.edges.to(device))


def fade(
    weights: npt.NDArray[np.float32], ages_days: npt.NDArray[np.float64], half_life_days: float | None
) -> npt.NDArray[np.float64]:
    """Return float64 ``[n]``: weights, halved with every half-life of their age."""
    full: npt.NDArray[np.float64] = weights.astype(np.float64)
    return full if half_life_days is None else full * 2.0 ** (-ages_days / half_life_days)


def pair_weight(totals: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return ``log(1 + total)``, the weight of an edge that stands for several interactions: habit counts, but less."""
    weights: npt.NDArray[np.float64] = np.log1p(totals)
    return weights


def part(interactions: Observed, start: int, stop: int) -> Observed:
    """Return interactions ``start`` to ``stop``, contexts left out."""
    return Observed(
        interactions.user_rows[start:stop],
        interactions.item_rows[start:stop],
        interactions.timestamps_ms[start:stop],
        interactions.weights[start:stop],
    )
