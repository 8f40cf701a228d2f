"""Reads a file of events as a data set."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from springtide.errors import DatasetError
from springtide.evaluation.data.columns import contexts_of_columns, interactions_of_columns
from springtide.evaluation.data.datasets import Dataset
from springtide.event_files import EventFile, Events, ReadOptions, Rows
from springtide.events.model import NodeUpsert
from springtide.v1 import events_pb2 as pb

DEFAULT_TYPE = "interaction"

_MAX_TYPES = 1_000  # A column with more distinct values holds ids, not types.
_DEFAULT = ReadOptions()


def read_interactions_file(path: str | Path, options: ReadOptions = _DEFAULT) -> Dataset:
    """Read a file of events; see ``springtide.event_files`` for what it may be.

    Its rows may be in any order. A row without a type gets ``DEFAULT_TYPE``, a row without a value has none, and a row
    without user, item or time is an error. Of events in protobuf's JSON mapping, interactions and nodes are read.

    Args:
        path: The file.
        options: How it is read.

    Raises:
        DatasetError: If the file cannot be read, lacks a column, or has an invalid row.
    """
    options = replace(options, default_type=options.default_type or DEFAULT_TYPE)
    with EventFile(Path(path), options) as file:
        table = _Table()
        for chunk in file.chunks():
            table.add(chunk)
        file.finish()
        return table.dataset(file, str(path))


class _Table:
    """Collects the chunks of a file; ids are dictionary-encoded, so that each string is stored once a chunk."""

    def __init__(self) -> None:
        self._chunks: list[Rows] = []
        self._upserts: list[tuple[pb.NodeUpsert, Events, int]] = []
        self._num_unused: Counter[str] = Counter()
        self._not_evaluated: dict[str, None] = {}

    def add(self, chunk: Rows | Events) -> None:
        """Add some rows, or some events."""
        if isinstance(chunk, Events):
            self._add_events(chunk)
        else:
            coded = {name: getattr(chunk, name).dictionary_encode() for name in ("users", "items", "types")}
            self._chunks.append(replace(chunk, **coded, event_ids=None, recommendation_ids=None))
            self._not_evaluated |= {
                role: None for role in ("event_id", "recommendation_id") if getattr(chunk, f"{role}s") is not None
            }

    def dataset(self, file: EventFile, path: str) -> Dataset:
        """Return all that was added.

        Raises:
            DatasetError: If there are no interactions, or the types are no types.
        """
        if not self._chunks:
            raise DatasetError(f"{path}: wanted interactions, got none among {file.num_rows:,} events")
        users, items, types = (
            pa.chunked_array([getattr(chunk, name) for chunk in self._chunks]) for name in ("users", "items", "types")
        )
        timestamps_ms = np.concatenate([file.scale.to_ms(chunk.times) for chunk in self._chunks])
        values = pa.chunked_array([pa.array(np.concatenate([chunk.values for chunk in self._chunks]))])
        interactions = interactions_of_columns(users, items, timestamps_ms, values, types, self._contexts())
        if (num_types := len(interactions.relations)) > _MAX_TYPES:
            raise DatasetError(
                f"{path}: wanted up to {_MAX_TYPES} types of interactions, got {num_types}: --columns type=NAME names "
                "their column"
            )
        upserts = [
            NodeUpsert(
                upsert.type,
                upsert.id,
                {name: tuple(values.values) for name, values in upsert.categories.items()},
                {name: number for name, number in upsert.numbers.items() if math.isfinite(number)},
                dict(upsert.texts),
                int(file.scale.to_ms(chunk.times[np.array([at])])[0]),
                {
                    name: tuple(vector.values)
                    for name, vector in upsert.vectors.items()
                    if all(map(math.isfinite, vector.values))
                },
            )
            for upsert, chunk, at in self._upserts
        ]
        notes = [
            f"{path}: {count:,} event{' is' if count == 1 else 's are'} of a kind that is not evaluated: {payload}"
            for payload, count in self._num_unused.items()
        ]
        if self._not_evaluated:
            notes.append(f"{path}: columns that are not evaluated: {', '.join(self._not_evaluated)}")
        return Dataset(file.name, interactions, upserts, (*file.notes, *notes))

    def _contexts(self) -> list[Mapping[str, str]] | None:
        """Return the circumstances of each interaction, in the order of the chunks; None if there are none."""
        names = dict.fromkeys(name for chunk in self._chunks for name in chunk.contexts)
        if not names:
            return None
        columns = {
            name: pa.chunked_array(
                [chunk.contexts.get(name, pa.nulls(len(chunk.rows), pa.string())) for chunk in self._chunks],
                pa.string(),
            )
            for name in names
        }
        contexts = contexts_of_columns(columns, sum(len(chunk.rows) for chunk in self._chunks))
        return contexts if any(contexts) else None

    def _add_events(self, chunk: Events) -> None:
        at_of: list[int] = []
        for at, event in enumerate(chunk.events):
            payload = event.WhichOneof("payload")
            if payload == "interaction":
                at_of.append(at)
            elif payload == "node_upsert" and event.node_upsert.type and event.node_upsert.id:
                self._upserts.append((event.node_upsert, chunk, at))
            else:
                self._num_unused[payload or "nothing"] += 1
        if at_of:
            interactions = [chunk.events[at].interaction for at in at_of]
            places: npt.NDArray[np.int64] = np.array(at_of)
            self._chunks.append(
                Rows(
                    chunk.rows[places],
                    _coded([one.user for one in interactions]),
                    _coded([one.item for one in interactions]),
                    _coded([one.type or DEFAULT_TYPE for one in interactions]),
                    chunk.times[places],
                    np.array([one.value if one.HasField("value") else np.nan for one in interactions]),
                    event_ids=None,
                    recommendation_ids=None,
                    contexts={
                        name: pa.array([one.context.get(name) for one in interactions], pa.string())
                        for name in dict.fromkeys(name for one in interactions for name in one.context)
                    },
                )
            )


def _coded(texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.string()).dictionary_encode()
