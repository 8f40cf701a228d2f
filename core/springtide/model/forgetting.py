"""Taking deleted nodes, and the attribute values that only they had, out of model versions."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.errors import ModelError
from springtide.graph.applying import USER
from springtide.graph.tombstones import NEVER_MS, Tombstones
from springtide.graph.view import GraphView
from springtide.model.births import born_ms_in
from springtide.model.registry import ModelArtifact
from springtide.model.schema import schema_from_manifest
from springtide.packed_texts import PackedTexts, Texts, pack

Int64s = npt.NDArray[np.int64]
Arrays = dict[str, npt.NDArray[Any]]

ForgetUsers = Callable[[ModelArtifact, Int64s], Mapping[str, npt.NDArray[Any]]]
"""Returns the tensors of a fitted baseline without what it keeps of some users, int64 ``[n]``, rows of the fit."""

_FOUND_AT_ONCE = 4_096  # Finding rows takes Python's lock: others run in between.
_GONE = "=\0"  # In place of a value, after the attribute's name; a number follows, since values must differ.


@dataclass(frozen=True, slots=True)
class Gone:
    """What a model version must not know any more.

    Attributes:
        rows: For each node type with any, the rows of deleted nodes, int64 ``[n]``.
        codes: For each node type with any, the codes of attribute values that no node has, int64 ``[n]``.
    """

    rows: Mapping[str, Int64s]
    codes: Mapping[str, Int64s]

    def __bool__(self) -> bool:
        return bool(self.rows or self.codes)

    def __str__(self) -> str:
        num_nodes, num_values = (sum(map(len, each.values())) for each in (self.rows, self.codes))
        return f"{num_nodes:,} deleted nodes and {num_values:,} attribute values that nobody has were taken out"


class Living:
    """Says which nodes and attribute values of a model live on; for any thread but the one that writes the graph.

    Args:
        view: The live graph.
        tombstones: The deletions that are remembered; this thread's own.
    """

    def __init__(self, view: GraphView, tombstones: Tombstones) -> None:
        self._view = view
        self._tombstones = tombstones

    def may_lack(self, node_ids: Mapping[str, Sequence[str]], values: Mapping[str, Sequence[str]]) -> bool:
        """Return whether a version with these ids and attribute values may hold what is gone; ``gone`` knows."""
        for node_type, ids in node_ids.items():
            rows, is_deleted = self._look_up(node_type, ids)
            if is_deleted.any() or (self._born_ms(node_type, rows) != 0).any():
                return True
        return any(len(self._unused(node_type, of_type)) for node_type, of_type in values.items())

    def gone(self, artifact: ModelArtifact) -> Gone:
        """Return what a version holds that is gone: a node that was deleted and came again is another one."""
        rows, codes = {}, {}
        for node_type, ids in artifact.node_ids.items():
            live_rows, is_gone = self._look_up(node_type, ids)
            learned_ms = born_ms_in(artifact.tensors, node_type, len(ids))
            is_gone |= (live_rows >= 0) & (self._born_ms(node_type, live_rows) != learned_ms)
            if is_gone.any():
                rows[node_type] = np.flatnonzero(is_gone)
        for node_type, values in artifact.attribute_values.items():
            if len(unused := self._unused(node_type, values)):
                codes[node_type] = unused
        return Gone(rows, codes)

    def _look_up(self, node_type: str, ids: Sequence[str]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
        """Return the live row of each id, int32 ``[n]``, -1 without one, and whether it was deleted and has none."""
        packed, live = _packed(ids), self._view.nodes(node_type).ids
        rows = np.empty(len(ids), np.int32)
        for start in range(0, len(ids), _FOUND_AT_ONCE):
            offsets = packed.offsets[start : start + _FOUND_AT_ONCE + 1]
            part = packed.utf8[offsets[0] : offsets[-1]], offsets - offsets[0]
            rows[start : start + _FOUND_AT_ONCE] = live.rows_packed(*part)
        unknown = np.flatnonzero((rows < 0) & (np.diff(packed.offsets) > 0))
        is_deleted = np.zeros(len(ids), np.bool_)
        deleted_ms = self._tombstones.deleted_ms(node_type, [ids[row] for row in unknown.tolist()])
        is_deleted[unknown] = deleted_ms != NEVER_MS
        return rows, is_deleted

    def _born_ms(self, node_type: str, rows: npt.NDArray[np.int32]) -> Int64s:
        """Return which deletion the node of each live row follows, int64 ``[n]``; 0 for none, and for row -1."""
        born_ms = np.zeros(len(rows), np.int64)
        known = np.flatnonzero(rows >= 0)
        if len(known):
            lifetimes = self._view.nodes(node_type).lifetimes
            born_ms[known] = lifetimes.all_born_ms(int(rows.max()) + 1)[rows[known]]
        return born_ms

    def _unused(self, node_type: str, values: Sequence[str]) -> Int64s:
        columns = self._view.nodes(node_type).categories
        unused = []
        for code, text in enumerate(values):
            name, _, value = text.partition("=")
            column = columns.get(name)
            if _GONE not in text and (column is None or column.vocabulary.row(value) < 0):
                unused.append(code)
        return np.array(unused, np.int64)


def without(artifact: ModelArtifact, gone: Gone, forget_users: ForgetUsers) -> ModelArtifact:
    """Return a version without names and numbers of what is gone; rows and codes stay, so that the others keep theirs.

    Arrays that change are changed in place where they can be written to.

    Args:
        artifact: The version; of a loaded one, nobody else has the arrays.
        gone: What is gone.
        forget_users: What it takes to forget users of a baseline.

    Raises:
        ModelError: If the version does not fit its own manifest, or needs a part that is not installed.
    """
    try:
        return _without(artifact, gone, forget_users)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ModelError(f"model {artifact.manifest.version}: does not fit its own manifest: {error!r}") from error


def _without(artifact: ModelArtifact, gone: Gone, forget_users: ForgetUsers) -> ModelArtifact:
    node_ids = {name: _blanked(ids, gone.rows.get(name)) for name, ids in artifact.node_ids.items()}
    values = {name: _renamed(of_type, gone.codes.get(name, ())) for name, of_type in artifact.attribute_values.items()}
    if artifact.manifest.training != "baseline":
        tensors = _with_zeros(artifact, gone)
    elif USER in gone.rows:
        tensors = dict(forget_users(artifact, gone.rows[USER]))
    else:
        tensors = dict(artifact.tensors)
    return dataclasses.replace(artifact, tensors=tensors, node_ids=node_ids, attribute_values=values)


def _with_zeros(artifact: ModelArtifact, gone: Gone) -> Arrays:
    """Return the tensors of a trained model (``training.artifact``) with zeros for what is gone."""
    tensors: Arrays = dict(artifact.tensors)
    schema = schema_from_manifest(artifact.manifest.schema)
    value_types = {of: name for name, of in schema.value_types.items()}
    start = 0
    for node_type in schema.node_types:
        if (name := value_types.get(node_type)) is not None:
            size, rows = len(artifact.attribute_values[name]), gone.codes.get(name)
        else:
            size, rows = len(artifact.node_ids[node_type]), gone.rows.get(node_type)
        if rows is not None:
            _zero(tensors, "vectors", start + rows)
            _zero(tensors, "degree", start + rows)
            _zero(tensors, "levels", start + rows, axis=1)
        start += size
    for index, name in enumerate(schema.event_types):
        _zero(tensors, f"inputs.ids.{index}", gone.rows.get(name))
        _zero(tensors, f"inputs.values.{index}", gone.codes.get(name))
    for key in ("num_interactions", "time_sums"):
        _zero(tensors, key, gone.rows.get(USER))
    return tensors


def _zero(tensors: Arrays, key: str, rows: Int64s | None, axis: int = 0) -> None:
    if rows is None or key not in tensors:
        return
    array = tensors[key] if tensors[key].flags.writeable else tensors[key].copy()
    rows = rows[rows < array.shape[axis]]
    array[(slice(None),) * axis + (rows,)] = 0
    tensors[key] = array


def _packed(ids: Sequence[str]) -> PackedTexts:
    return ids.packed if isinstance(ids, Texts) else pack(ids)


def _blanked(ids: Sequence[str], rows: Int64s | None) -> Sequence[str]:
    if rows is None:
        return ids
    left = list(ids)
    for row in rows.tolist():
        left[row] = ""
    return Texts(pack(left))


def _renamed(values: Sequence[str], codes: Sequence[int] | Int64s) -> list[str]:
    left = list(values)
    for code in np.asarray(codes, np.int64).tolist():
        left[code] = f"{left[code].partition('=')[0]}{_GONE}{code}"
    return left
