"""The circumstances that are kept with interactions, as codes: place, weather, whatever context weights need."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.graph.categories import CategoryColumn
from springtide.graph.edges import EdgeView
from springtide.graph.nodes import NodeTable
from springtide.ids import IdMap
from springtide.interactions import Circumstances, Observed

MAX_VALUES = 10_000  # Values of one key: a key with more is an id rather than a circumstance.
_EDGES_AT_ONCE = 1_000_000


def _are_all_nan(values: npt.NDArray[np.float32]) -> bool:
    if len(values) == 1:
        return math.isnan(values[0])
    return bool(np.isnan(values).all())


def _distinct(contexts: Sequence[Mapping[str, str]]) -> tuple[list[Mapping[str, str]], npt.NDArray[np.int64]]:
    """Return the maps that are not the same object, in their order, and each one's index in them, int64 ``[n]``.

    Many events of one poll share a map, since decoding makes one of equal bytes.
    """
    objects = list(map(id, contexts))
    maps = dict(zip(objects, contexts, strict=True))
    index_of = {each: index for index, each in enumerate(maps)}
    return list(maps.values()), np.fromiter(map(index_of.__getitem__, objects), np.int64, len(objects))


def _mark_used(in_use: Mapping[int, npt.NDArray[np.bool_]], views: Sequence[EdgeView]) -> None:
    """Mark the codes that edges have, by column of their features; ends as soon as every code is found.

    The newest edges come first: there most values are found again.
    """
    left = dict(in_use)
    for view in views:
        for features in view.feature_parts(_EDGES_AT_ONCE):
            if not left:
                return
            for column, used in [*left.items()]:
                if column < features.shape[1]:
                    codes = features[:, column]
                    used[codes[~np.isnan(codes)].astype(np.int32)] = True
                    if used.all():
                        del left[column]


class CircumstanceTable:
    """The circumstances that are kept, and the code of each of their values.

    Keys are only ever added, and values too, but for ``forget_unused``. The features of an edge hold the event's value,
    and then the code of each circumstance, in the order of ``keys``.

    Args:
        keys: The circumstances that context weights need.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self.keys: list[str] = list(dict.fromkeys(keys))
        self._values = {key: IdMap() for key in self.keys}
        self._forgotten: dict[str, list[int]] = {}  # Codes that the last call of `forget_unused` has freed.

    def values(self, key: str) -> list[str]:
        """Return the values of a key, in the order of their codes; empty where a value was forgotten."""
        return self._values[key].all_ids()

    def forget_unused(self, views: Sequence[EdgeView], users: NodeTable) -> bool:
        """Forget the values that no edge has and no user; return whether there were any. The thread that writes calls.

        The codes are free for other values after the next call: until then readers may hold edges that are gone.

        Args:
            views: All edges.
            users: The users, with their attributes.
        """
        in_use = {}
        for column, key in enumerate(self.keys, start=1):
            ids = self._values[key]
            ids.release(self._forgotten.pop(key, ()))
            used = np.zeros(len(ids), np.bool_)
            used[ids.forgotten_rows(len(ids))] = True
            if (attribute := users.categories.get(key)) is not None:
                rows = ids.rows([value for value in attribute.vocabulary.all_ids() if value])
                used[rows[rows >= 0]] = True
            if not used.all():
                in_use[column] = used
        _mark_used(in_use, views)
        has_any = False
        for column, used in in_use.items():
            key = self.keys[column - 1]
            self._forgotten[key] = np.flatnonzero(~used).tolist()
            for code in self._forgotten[key]:
                self._values[key].forget(code)
            has_any |= bool(self._forgotten[key])
        return has_any

    def features(
        self,
        values: npt.NDArray[np.float32],
        contexts: Sequence[Mapping[str, str]] | None,
        user_rows: npt.NDArray[np.int32],
        users: NodeTable,
    ) -> npt.NDArray[np.float32] | None:
        """Return the features of edges: the events' values, and the codes of their circumstances.

        Where an event does not give a circumstance, it is the user's attribute of that name as it is now. It is kept
        with the edge: what context weights observe must be known when they have to take it back.

        Args:
            values: float32 ``[n]``, NaN where an event has none.
            contexts: The events' context maps, or None when none has one.
            user_rows: int32 ``[n]``.
            users: The users, with their attributes.

        Returns:
            float32 ``[n, width]``, NaN where something is unknown; None if everything is.
        """
        columns = {0: values}
        categories = users.categories
        distinct, of_rows = ([], None) if contexts is None else _distinct(contexts)
        for column, key in enumerate(self.keys, start=1):
            if contexts is None and key not in categories:
                continue
            if of_rows is None:
                codes = np.full(len(values), -1, np.int32)
            else:
                codes = self._codes(key, [context.get(key, "") for context in distinct])[of_rows]
            codes = self._with_attribute(key, codes, user_rows, categories.get(key))
            if (codes >= 0).any():
                columns[column] = np.where(codes >= 0, codes, np.nan).astype(np.float32)
        if len(columns) == 1:
            return None if _are_all_nan(values) else values[:, None]
        features = np.full((len(values), max(columns) + 1), np.nan, np.float32)
        for column, feature in columns.items():
            features[:, column] = feature
        return features

    def read(
        self, features: npt.NDArray[np.float32] | None, user_rows: npt.NDArray[np.int32], users: NodeTable | None
    ) -> dict[str, Circumstances]:
        """Return the circumstances of edges; where none was kept, the user's attribute of that name.

        Args:
            features: float32 ``[n, width]``, as ``features`` returned them, or None.
            user_rows: int32 ``[n]``.
            users: The users, with their attributes; None for only what was kept.
        """
        found = {}
        categories = {} if users is None else users.categories
        width = 0 if features is None else features.shape[1]
        for column, key in enumerate(self.keys, start=1):
            if column >= width and key not in categories:
                continue
            codes = np.full(len(user_rows), -1, np.int32)
            if features is not None and column < width:
                feature = features[:, column]
                codes = np.where(np.isnan(feature), -1, feature).astype(np.int32)
            codes = self._with_attribute(key, codes, user_rows, categories.get(key))
            if (codes >= 0).any():
                found[key] = Circumstances(codes, self.values(key))
        return found

    def observed(self, views: Sequence[EdgeView], users: NodeTable | None) -> Observed:
        """Return edges as interactions, sorted by time; see ``read`` for ``users``."""
        times = np.concatenate([edges.timestamps_ms for edges in views] or [np.empty(0, np.int64)])
        order = np.argsort(times, kind="stable")
        if not len(order):
            no_rows = np.empty(0, np.int32)
            return Observed(no_rows, no_rows, times, np.empty(0, np.float32))
        user_rows = np.concatenate([edges.source for edges in views])[order]
        return Observed(
            user_rows,
            np.concatenate([edges.target for edges in views])[order],
            times[order],
            np.concatenate([edges.weights for edges in views])[order],
            self.read(_features_of(views, order), user_rows, users),
        )

    def snapshot(self) -> dict[str, Any]:
        """Return keys and values, for the checkpoint."""
        return {"keys": list(self.keys), "values": {key: self.values(key) for key in self.keys}}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Restore the keys and values of a checkpoint; its keys come first, since edges were written in their order."""
        wanted = self.keys
        self.keys = list(dict.fromkeys([*saved["keys"], *wanted]))
        self._values = {key: IdMap(saved["values"].get(key, ())) for key in self.keys}
        for ids in self._values.values():
            ids.release(ids.forgotten_rows(len(ids)).tolist())

    def _with_attribute(
        self,
        key: str,
        codes: npt.NDArray[np.int32],
        user_rows: npt.NDArray[np.int32],
        attribute: CategoryColumn | None,
    ) -> npt.NDArray[np.int32]:
        """Return the codes, those that are -1 replaced by the code of the user's attribute, if there is one."""
        if attribute is None or not (codes < 0).any():
            return codes
        attribute_codes = self._codes(key, attribute.vocabulary.all_ids())
        first = attribute.first_codes()[user_rows]
        if not (first >= 0).any():
            return codes
        return np.where((codes < 0) & (first >= 0), attribute_codes[first], codes).astype(np.int32)

    def _codes(self, key: str, values: Sequence[str]) -> npt.NDArray[np.int32]:
        """Return the code of each value, int32 ``[n]``, -1 for empty values and values beyond ``MAX_VALUES``."""
        ids = self._values[key]
        codes = np.full(len(values), -1, np.int32)
        index = [position for position, value in enumerate(values) if value]
        if not index:
            return codes
        known = [values[position] for position in index]
        if len(ids) < MAX_VALUES:
            new = list(dict.fromkeys(value for value in known if ids.row(value) < 0))
            ids.intern(new[: MAX_VALUES - len(ids)])
        codes[index] = ids.rows(known)
        return codes


def _features_of(views: Sequence[EdgeView], order: npt.NDArray[np.int64]) -> npt.NDArray[np.float32] | None:
    """Return the features of the views' edges in an order, float32 ``[num_edges, width]``; None if none is kept."""
    width = max((0 if edges.features is None else edges.features.shape[1]) for edges in views)
    if width <= 1:
        return None
    features = np.full((len(order), width), np.nan, np.float32)
    start = 0
    for edges in views:
        if edges.features is not None:
            features[start : start + len(edges), : edges.features.shape[1]] = edges.features
        start += len(edges)
    return features[order]
