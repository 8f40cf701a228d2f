"""Vector attributes as inputs of a network: brought to one scale, so that a projection of them begins as ids do."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from springtide.graph.nodes import NodeTable
from springtide.graph.row_entries import RowVectors
from springtide.model.hashed_texts import hashed_texts

Array = npt.NDArray[np.float32]

_MAX_DEVIATIONS = 5.0  # As of number attributes: one broken vector must not dominate.


class VectorEntries(NamedTuple):
    """The scaled vectors of one attribute, and where they stand.

    Attributes:
        start: First of the attribute's rows in a projection.
        rows: int64 ``[n]``, nodes, or positions among the nodes that were asked for.
        inputs: float32 ``[n, length + 1]``, scaled numbers, and 1: that the node has a vector.
    """

    start: int
    rows: npt.NDArray[np.int64]
    inputs: Array

    @property
    def columns(self) -> slice:
        """The attribute's rows in a projection."""
        return slice(self.start, self.start + self.inputs.shape[1])


@dataclass(frozen=True, slots=True)
class VectorScale:
    """Mean and deviation of each number of the vector attributes of a node type.

    Attributes:
        names: The attributes.
        means: For each attribute, float32 ``[length]``; then one for the texts, if there are any.
        deviations: As ``means``, standard deviations, above 0.
        texts: Text attributes that are read, all together as one vector; see ``hashed_texts``.
    """

    names: tuple[str, ...] = ()
    means: tuple[Array, ...] = ()
    deviations: tuple[Array, ...] = ()
    texts: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, nodes: NodeTable, num_nodes: int, without: Collection[str] = (), *, reads_texts: bool = False
    ) -> "VectorScale":
        """Measure the vectors of the first ``num_nodes`` nodes; attributes that none of them has are left out.

        Args:
            nodes: The nodes.
            num_nodes: Number of nodes to read.
            without: Attributes to leave out.
            reads_texts: Whether texts are read, too.
        """
        names, means, deviations = [], [], []
        texts: tuple[str, ...] = ()
        if reads_texts:
            texts = tuple(sorted(name for name, kind in nodes.kinds.items() if kind == "text" and name not in without))
        vectors = sorted(nodes.vector_lengths.keys() - set(without))
        for name in (*vectors, *texts[:1]):  # One after the other, for memory's sake; the texts are one.
            found = nodes.vectors(name, num_nodes) if name in vectors else _texts_of(nodes, np.arange(num_nodes), texts)
            if found is None or not len(found.rows):
                texts = texts if name in vectors else ()
                continue
            if name in vectors:
                names.append(name)
            means.append(found.vectors.mean(axis=0, dtype=np.float64).astype(np.float32))
            spread = found.vectors.std(axis=0, dtype=np.float64)
            deviations.append(np.maximum(spread, 1e-6).astype(np.float32))
        return cls(tuple(names), tuple(means), tuple(deviations), texts)

    @classmethod
    def from_manifest(cls, saved: Mapping[str, Any]) -> "VectorScale":
        """Return the scale that ``to_manifest`` has written."""
        means, deviations = (
            tuple(np.array(each, np.float32) for each in saved[part]) for part in ("means", "deviations")
        )
        return cls(tuple(saved["names"]), means, deviations, tuple(saved.get("texts", ())))

    def to_manifest(self) -> dict[str, Any]:
        """Return the scale as the manifest of a model keeps it."""
        means, deviations = ([each.tolist() for each in part] for part in (self.means, self.deviations))
        return {"names": list(self.names), "means": means, "deviations": deviations, "texts": list(self.texts)}

    @property
    def num_inputs(self) -> int:
        """Number of rows of a projection: for each attribute, its numbers and one for that it is there."""
        return sum(len(mean) + 1 for mean in self.means)

    def entries(self, nodes: NodeTable, num_nodes: int) -> list[VectorEntries]:
        """Return the scaled vectors of the first ``num_nodes``, by attribute."""
        texts = [_texts_of(nodes, np.arange(num_nodes), self.texts)] if self.texts else []
        return self._scaled([*(nodes.vectors(name, num_nodes) for name in self.names), *texts])

    def entries_at(self, nodes: NodeTable, rows: npt.NDArray[np.int64]) -> list[VectorEntries]:
        """Return the scaled vectors of some nodes, int64 ``[n]``, by position there and attribute."""
        texts = [_texts_of(nodes, rows, self.texts)] if self.texts else []
        return self._scaled([*(nodes.vectors_at(name, rows) for name in self.names), *texts])

    def _scaled(self, found: Sequence[RowVectors | None]) -> list[VectorEntries]:
        entries, start = [], 0
        for of_name, mean, deviation in zip(found, self.means, self.deviations, strict=True):
            # Vectors of another length came by the same name, after all of the former were gone: the model has never
            # seen one of them.
            if of_name is not None and of_name.vectors.shape[1] == len(mean) and len(of_name.rows):
                scaled = np.clip((of_name.vectors - mean) / deviation, -_MAX_DEVIATIONS, _MAX_DEVIATIONS)
                scaled /= np.float32(np.sqrt(len(mean)))  # About of length 1, however many numbers there are.
                is_present = np.ones((len(scaled), 1), np.float32)
                entries.append(VectorEntries(start, of_name.rows, np.concatenate([scaled, is_present], axis=1)))
            start += len(mean) + 1
        return entries


def _texts_of(nodes: NodeTable, rows: npt.NDArray[np.int64], names: Sequence[str]) -> RowVectors:
    """Return the vectors of the texts of nodes, int64 ``[n]``, by position there, of those that have any."""
    parts = [nodes.texts_at(name, rows.tolist()) for name in names]
    texts = [" ".join(filter(None, of_node)) for of_node in zip(*parts, strict=True)]
    has_any = np.flatnonzero([bool(text.strip()) for text in texts])
    return RowVectors(has_any, hashed_texts([texts[row] for row in has_any.tolist()]))
