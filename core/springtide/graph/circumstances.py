"""The circumstances that are kept with interactions, as codes: place, weather, whatever context weights ask for."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.graph.nodes import NodeTable
from springtide.ids import IdMap
from springtide.interactions import Circumstances

MAX_VALUES = 10_000  # Of one key: more are no circumstance but an id, and are not kept.


class CircumstanceTable:
    """Which circumstances are kept, and the code of each of their values. Keys and values are only ever added.

    On an edge they stand in its features, behind the event's value: a column for each key, in the order of ``keys``.

    Args:
        keys: What the context weights ask for.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self.keys: list[str] = list(dict.fromkeys(keys))
        self._values = {key: IdMap() for key in self.keys}

    def values(self, key: str) -> list[str]:
        """Return the values of a key, in the order of their codes."""
        return self._values[key].all_ids()

    def features(
        self, values: npt.NDArray[np.float32], contexts: Sequence[Mapping[str, str]] | None
    ) -> npt.NDArray[np.float32] | None:
        """Return the features of edges: the events' values, and codes of their circumstances.

        Args:
            values: float32 ``[n]``, NaN where an event has none.
            contexts: The events' context maps, or None when none has one.

        Returns:
            float32 ``[n, width]``, NaN where there is nothing; None if there is nothing at all.
        """
        known = [(column, key) for column, key in enumerate(self.keys, start=1)] if contexts is not None else []
        columns = {0: values}
        for column, key in known:
            assert contexts is not None, "there are keys to look for"
            codes = self._codes(key, [context.get(key, "") for context in contexts])
            if (codes >= 0).any():
                columns[column] = np.where(codes >= 0, codes, np.nan).astype(np.float32)
        if len(columns) == 1:
            return None if np.isnan(values).all() else values[:, None]
        features = np.full((len(values), max(columns) + 1), np.nan, np.float32)
        for column, of_column in columns.items():
            features[:, column] = of_column
        return features

    def read(
        self, features: npt.NDArray[np.float32] | None, user_rows: npt.NDArray[np.int32], users: NodeTable
    ) -> dict[str, Circumstances]:
        """Return the circumstances of edges; where an event said nothing, the user's attribute of that name.

        Args:
            features: float32 ``[n, width]``, as ``features`` gave them, or None.
            user_rows: int32 ``[n]``.
            users: Their attributes.
        """
        found = {}
        categories = users.categories
        for column, key in enumerate(self.keys, start=1):
            codes = np.full(len(user_rows), -1, np.int32)
            if features is not None and column < features.shape[1]:
                of_column = features[:, column]
                codes = np.where(np.isnan(of_column), -1, of_column).astype(np.int32)
            attribute = categories.get(key)
            if attribute is not None and (codes < 0).any():
                of_users = self._codes(key, attribute.vocabulary.all_ids())
                first = attribute.first_codes()[user_rows]
                codes = np.where((codes < 0) & (first >= 0), of_users[first], codes).astype(np.int32)
            if (codes >= 0).any():
                found[key] = Circumstances(codes, self.values(key))
        return found

    def snapshot(self) -> dict[str, Any]:
        """Return keys and values, for the checkpoint."""
        return {"keys": list(self.keys), "values": {key: self.values(key) for key in self.keys}}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take up what a checkpoint holds: its keys come first, since edges were written in their order."""
        wanted = self.keys
        self.keys = list(dict.fromkeys([*saved["keys"], *wanted]))
        self._values = {key: IdMap(saved["values"].get(key, ())) for key in self.keys}

    def _codes(self, key: str, values: Sequence[str]) -> npt.NDArray[np.int32]:
        """Return the code of each value, int32 ``[n]``, -1 for empty ones and for those beyond the bound."""
        ids = self._values[key]
        codes = np.full(len(values), -1, np.int32)
        asked = [position for position, value in enumerate(values) if value]
        if not asked:
            return codes
        words = [values[position] for position in asked]
        if len(ids) < MAX_VALUES:
            new = list(dict.fromkeys(word for word in words if ids.row(word) < 0))
            ids.intern(new[: MAX_VALUES - len(ids)])
        codes[asked] = ids.rows(words)
        return codes
