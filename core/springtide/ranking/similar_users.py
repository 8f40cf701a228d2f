"""Users whose vectors are near to that of a user: as the model learned them, or as they are now where that is known."""

import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.errors import InvalidRequestError, ModelError
from springtide.expressions import Columns, Schema, parse
from springtide.graph.applying import USER
from springtide.graph.nodes import NodeTable
from springtide.ranking.query import Query
from springtide.ranking.scoring import Scorer
from springtide.ranking.serving_model import ServingModel
from springtide.ranking.top_k import best_of

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _KnownUsers:
    """The users whom a model knows, by their live rows.

    Attributes:
        model: The model.
        version: Changes whenever a user of the graph may be another one.
        model_rows: int32 ``[num_users]``, the model's row of each live row, -1 for none.
    """

    model: ServingModel
    version: object
    model_rows: npt.NDArray[np.int32]


class SimilarUsers:
    """Finds similar users, and remembers where the model has them; any thread may ask."""

    def __init__(self) -> None:
        self._known: _KnownUsers | None = None
        self._lock = threading.Lock()

    def find(self, scorer: Scorer, query: Query) -> list[tuple[str, float]]:
        """Return the users nearest to the user of a query, each with their cosine, without the user.

        The user has the vector that they have now. Others have that of the training, or a newer one where somebody
        asked for them of late; who came after the training and was never asked for is not found. Forgotten users are
        not, whatever the model still knows.

        Args:
            scorer: Over a model.
            query: Gives the user, how many are wanted and the moment; its filter is one over users.

        Raises:
            InvalidRequestError: If the user, the scenario or a name in the filter is unknown.
            ModelError: If no model is served.
        """
        table, view = scorer.serving.table, scorer.view
        if table is None:
            raise ModelError("no model is served: similar users need one, for its vectors")
        nodes, num_users = view.nodes(USER), view.num_nodes(USER)
        merged = scorer.steered.merged(query)
        bound = scorer.bind(Query(query.moment, query.user_id, count=merged.count))
        if bound.user_row < 0:
            raise InvalidRequestError("user", f"no user with the id {query.user_id!r}")
        passing = _passing(scorer, query, bound.user_row)
        user = scorer.serving.users.find(view, table, bound)
        if (vector := user.vector) is None or not user.is_person:
            return []
        cosines = self._cosines(scorer, table.model, vector / np.linalg.norm(vector))
        if passing is not None:
            cosines[~passing] = -np.inf
        cosines[nodes.ids.forgotten_rows(num_users)] = -np.inf
        cosines[bound.user_row] = -np.inf
        [(rows, ids)] = best_of(cosines[np.newaxis], [bound.count], nodes.ids)
        return list(zip(ids, cosines[rows].tolist(), strict=True))

    def _cosines(self, scorer: Scorer, model: ServingModel, vector: Array) -> Array:
        """Return the cosine of each user with a unit vector, float32 ``[num_users]``; ``-inf`` where none is known."""
        nodes, num_users = scorer.view.nodes(USER), scorer.view.num_nodes(USER)
        model_rows = self._model_rows(scorer, model, nodes, num_users)
        of_model = model.users.vectors @ vector
        of_model[~np.isfinite(of_model) | (of_model == 0.0)] = -np.inf  # Of a vector of 0, nothing is known.
        cosines = np.where(model_rows >= 0, of_model[model_rows], np.float32(-np.inf))
        ids, rows, vectors = scorer.serving.users.vectors()
        is_same = np.array([0 <= row < num_users for row in rows], bool)
        live_ids = nodes.ids.ids(np.where(is_same, rows, 0)) if len(rows) else []
        is_same &= np.array([was == now for was, now in zip(ids, live_ids, strict=True)], bool)
        if is_same.any():
            newer = vectors[is_same]
            lengths = np.maximum(np.linalg.norm(newer, axis=1), np.float32(1e-12))
            cosines[rows[is_same]] = (newer @ vector) / lengths
        return cosines

    def _model_rows(
        self, scorer: Scorer, model: ServingModel, nodes: NodeTable, num_users: int
    ) -> npt.NDArray[np.int32]:
        version = (nodes.ids_lineage, nodes.ids.num_reuses, scorer.state.graph.num_forgotten)  # Before the rows.
        with self._lock:
            known = self._known
            rows = np.empty(0, np.int32)
            if known is not None and known.model is model and known.version == version:
                rows = known.model_rows
            if len(rows) < num_users:
                later = model.users.rows.of(nodes, np.arange(len(rows), num_users, dtype=np.int32))
                rows = np.concatenate([rows, later])
                self._known = _KnownUsers(model, version, rows)
            return rows[:num_users]


def _passing(scorer: Scorer, query: Query, user_row: int) -> npt.NDArray[np.bool_] | None:
    """Return which users pass the filter of a query, bool ``[num_users]``; None for all."""
    steering = query.steering
    if steering is None or not steering.filter:
        return None
    view = scorer.view
    program = parse(steering.filter).check(Schema.of(view, USER), "filter")
    return program.mask(Columns(view, USER, view.num_nodes(USER), query.moment, query.user_id, user_row))
