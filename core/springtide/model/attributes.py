"""Attributes of nodes as inputs of a network: category values and numbers."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from springtide.graph.categories import CategoryColumn
from springtide.graph.nodes import NodeTable

Pairs = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]

_MAX_DEVIATIONS = 5.0  # A number farther from the mean is clipped to this: one typo must not dominate.


class ValueLinks(NamedTuple):
    """Links from attribute values to the nodes that have them, sorted by node.

    Attributes:
        codes: int64 ``[num_links]``, code of each value.
        node_rows: int64 ``[num_links]``, ascending.
        weight: float32 ``[num_links]``, one over the number of values of the node.
    """

    codes: npt.NDArray[np.int64]
    node_rows: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float32]


class NumberEntries(NamedTuple):
    """Scaled numbers, and where they stand.

    Attributes:
        rows: int64 ``[num_entries]``, nodes.
        columns: int64 ``[num_entries]``, as in what ``NumberScale.apply`` returns.
        values: float32 ``[num_entries]``.
    """

    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Attributes:
    """Category attributes of the nodes of one type, as pairs of node and value.

    Attributes:
        vocabulary: All values of all attributes, each as ``attribute=value``; a value's code is its position.
        node_rows: int64 ``[num_pairs]``.
        codes: int64 ``[num_pairs]``, positions in ``vocabulary``.
        num_nodes: Number of nodes, with or without attributes.
    """

    vocabulary: Sequence[str]
    node_rows: npt.NDArray[np.int64]
    codes: npt.NDArray[np.int64]
    num_nodes: int

    @classmethod
    def of(
        cls, nodes: NodeTable, num_nodes: int, known: Sequence[str] = (), without: Collection[str] = ()
    ) -> "Attributes":
        """Read the category attributes of the first ``num_nodes``.

        Args:
            nodes: The nodes.
            num_nodes: Number of nodes to read.
            known: Values that have codes already and keep them.
            without: Attributes to leave out.
        """

        def pairs_of(column: CategoryColumn) -> Pairs:
            node_rows, codes = column.pairs()
            is_in_view = node_rows < num_nodes
            return node_rows[is_in_view], codes[is_in_view]

        columns = [(name, column) for name, column in sorted(nodes.categories.items()) if name not in without]
        return cls._of(columns, pairs_of, num_nodes, known)

    @classmethod
    def at(cls, nodes: NodeTable, rows: npt.NDArray[np.int64], known: Sequence[str]) -> "Attributes":
        """Read the category attributes of some nodes; ``node_rows`` are then positions in ``rows``, int64 ``[n]``."""
        columns = sorted(nodes.categories.items())
        return cls._of(columns, lambda column: column.pairs_at(rows), len(rows), known)

    @classmethod
    def _of(
        cls,
        columns: Sequence[tuple[str, CategoryColumn]],
        pairs_of: Callable[[CategoryColumn], Pairs],
        num_nodes: int,
        known: Sequence[str],
    ) -> "Attributes":
        codes_by_value = {value: code for code, value in enumerate(known)}
        rows, codes = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for name, column in columns:
            node_rows, column_codes = pairs_of(column)
            translation = np.full(len(column.vocabulary), -1, np.int64)
            for code in np.unique(column_codes).tolist():  # Not all of the vocabulary: some values had their day.
                value = f"{name}={column.vocabulary.id(code)}"
                translation[code] = codes_by_value.setdefault(value, len(codes_by_value))
            rows.append(node_rows.astype(np.int64))
            codes.append(translation[column_codes])
        return cls(tuple(codes_by_value), np.concatenate(rows), np.concatenate(codes), num_nodes)

    def names(self) -> list[str]:
        """Return the attribute of each value in the vocabulary."""
        return [value.partition("=")[0] for value in self.vocabulary]

    def links(self, num_codes: int) -> ValueLinks:
        """Return the links from the first ``num_codes`` values to nodes; weights of one node add up to 1."""
        is_known = self.codes < num_codes
        rows, codes = self.node_rows[is_known], self.codes[is_known]
        order = np.argsort(rows, kind="stable")
        per_node = np.bincount(rows, minlength=self.num_nodes)
        weight = (1.0 / per_node[rows[order]]).astype(np.float32)
        return ValueLinks(codes[order], rows[order], weight)


@dataclass(frozen=True, slots=True)
class NumberScale:
    """Mean and deviation of the number attributes of a node type, to bring them to one scale.

    Attributes:
        names: The attributes.
        mean: float32 ``[num_numbers]``.
        deviation: float32 ``[num_numbers]``, standard deviation, above 0.
    """

    names: tuple[str, ...]
    mean: npt.NDArray[np.float32]
    deviation: npt.NDArray[np.float32]

    @classmethod
    def of(cls, nodes: NodeTable, num_nodes: int, without: Collection[str] = ()) -> "NumberScale":
        """Measure the numbers of the first ``num_nodes`` nodes; attributes that no node has are left out."""
        names, means, deviations = [], [], []
        for name in nodes.number_names:  # One after the other: all at once may take gigabytes.
            column = None if name in without else nodes.number(name)
            if column is None:
                continue
            present = column[:num_nodes][np.isfinite(column[:num_nodes])]
            if len(present) == 0:
                continue
            names.append(name)
            means.append(present.mean())
            deviations.append(max(present.std(), 1e-6))
        return cls(tuple(names), np.array(means, np.float32), np.array(deviations, np.float32))

    def read(self, nodes: NodeTable, num_nodes: int) -> npt.NDArray[np.float32]:
        """Return the numbers of the first ``num_nodes``, float32 ``[num_nodes, num_numbers]``, NaN where missing."""
        raw = np.full((num_nodes, len(self.names)), np.nan, np.float32)
        for position, name in enumerate(self.names):
            column = nodes.number(name)
            if column is not None:
                found = column[:num_nodes]
                raw[: len(found), position] = found
        return raw

    def read_at(self, nodes: NodeTable, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return the numbers of some nodes, float32 ``[n, num_numbers]``, NaN where missing."""
        raw = np.full((len(rows), len(self.names)), np.nan, np.float32)
        for position, name in enumerate(self.names):
            raw[:, position] = nodes.numbers_at(name, rows)
        return raw

    def entries(self, nodes: NodeTable, num_nodes: int) -> "NumberEntries":
        """Return what ``apply`` has of the first ``num_nodes`` that is not 0, without a place for all that is."""
        rows, columns, values = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
        for position, name in enumerate(self.names):
            column = nodes.number(name)
            if column is None:
                continue
            present = np.flatnonzero(np.isfinite(column[:num_nodes]))
            scaled = (column[present].astype(np.float32) - self.mean[position]) / self.deviation[position]
            values += [np.clip(scaled, -_MAX_DEVIATIONS, _MAX_DEVIATIONS), np.ones(len(present), np.float32)]
            rows += [present, present]
            columns += [np.full(len(present), at) for at in (position, len(self.names) + position)]
        return NumberEntries(np.concatenate(rows), np.concatenate(columns), np.concatenate(values))

    def apply(self, numbers: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Scale numbers.

        Args:
            numbers: float32 ``[n, num_numbers]``, NaN where missing.

        Returns:
            float32 ``[n, 2 · num_numbers]``: each number in deviations from the mean, 0 where missing; then, for each
            number, 1 where it is present.
        """
        is_present = np.isfinite(numbers)
        scaled = np.clip((numbers - self.mean) / self.deviation, -_MAX_DEVIATIONS, _MAX_DEVIATIONS)
        return np.concatenate([np.where(is_present, scaled, 0.0), is_present], axis=1).astype(np.float32)
