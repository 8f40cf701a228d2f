"""A baseline ready to serve: the users and items of its fit, matched with those of the live graph."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.errors import ModelError
from springtide.graph.applying import USER
from springtide.graph.view import GraphView
from springtide.interactions import History
from springtide.model.births import ModelRows, without_births
from springtide.model.forgetting import ForgetUsers
from springtide.model.registry import ModelArtifact
from springtide.plugins.contracts import Baseline
from springtide.plugins.loading import Plugins
from springtide.ranking.binding import BoundQuery
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import PartSettings


@dataclass(frozen=True, slots=True)
class ServingBaseline:
    """A fitted baseline in memory.

    Attributes:
        version: Registry version.
        name: Name that a plugin registered it by.
        baseline: The fitted baseline; it scores the users and items of its fit.
        item_type: What it recommends: ``item``, or ``user`` in a graph of users alone.
        user_rows: Row of each user in the fit.
        item_rows: Row of each item in the fit.
        num_items: Number of item rows in the fit, those of forgotten items included.
    """

    version: str
    name: str
    baseline: Baseline
    item_type: str
    user_rows: ModelRows
    item_rows: ModelRows
    num_items: int

    @property
    def parts_with_torch(self) -> Sequence[str]:
        """None: baselines compute with arrays."""
        return ()

    @classmethod
    def from_artifact(cls, artifact: ModelArtifact, plugins: Plugins) -> "ServingBaseline":
        """Make a baseline ready; ``baseline_artifact`` says what the artifact holds.

        Raises:
            UnknownPartError: If no plugin offers it here.
            SettingsError: If it does not take its options any more.
            ModelError: If the artifact does not fit.
        """
        manifest = artifact.manifest
        try:
            part = manifest.parts["baseline"]
            wanted = PartSettings(name=part["name"], options=part["options"])
            item_type = manifest.settings["graph"]["item_type"]
            users, items = artifact.node_ids[USER], artifact.node_ids[item_type]
            baseline: Baseline = plugins.make("baseline", wanted)
            user_rows, item_rows = (
                ModelRows(ids, kind, artifact.tensors) for kind, ids in ((USER, users), (item_type, items))
            )
            baseline.restore(without_births(artifact.tensors))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"model {manifest.version}: does not fit its own manifest: {error!r}") from error
        return cls(
            manifest.version,
            wanted.name,
            baseline,
            item_type,
            user_rows,
            item_rows,
            len(items),
        )


def forget_users_by(plugins: Plugins) -> ForgetUsers:
    """Return what takes users out of the tensors of a fitted baseline; see ``springtide.model.forgetting``."""

    def forget_users(artifact: ModelArtifact, user_rows: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[Any]]:
        baseline = ServingBaseline.from_artifact(artifact, plugins).baseline
        baseline.forget_users(user_rows)
        learned = without_births(artifact.tensors).keys()
        births = {name: tensor for name, tensor in artifact.tensors.items() if name not in learned}
        return {**baseline.state(), **births}

    return forget_users


Served = ServingModel | ServingBaseline
"""A registry version ready to serve."""


def load_served(artifact: ModelArtifact, plugins: Plugins) -> Served:
    """Make a registry version ready to serve, a model or a baseline.

    Raises:
        UnknownPartError: If it has a part that no plugin offers here.
        SettingsError: If a part does not take its options any more.
        ModelError: If the artifact does not fit.
    """
    kind = ServingBaseline if artifact.manifest.training == "baseline" else ServingModel
    return kind.from_artifact(artifact, plugins)


@dataclass(frozen=True, slots=True)
class BaselineTable:
    """The rows that live items have in a baseline's fit, in the order of live rows. A table is replaced, never changed.

    Attributes:
        baseline: The baseline.
        fit_rows: int64 ``[num_items]``, each live item's row in the fit. An item that came after the fit has a row of
            its own from ``baseline.num_items`` on.
        ids_lineage: Lineage of the item ids at that time; it changes when an item is forgotten.
        num_reuses: How many rows of forgotten items had been given to other items by then.
    """

    baseline: ServingBaseline
    fit_rows: npt.NDArray[np.int64]
    ids_lineage: str
    num_reuses: int

    @property
    def num_items(self) -> int:
        """Number of rows, those of forgotten items included."""
        return len(self.fit_rows)

    @classmethod
    def build(cls, baseline: ServingBaseline, view: GraphView) -> "BaselineTable":
        """Line the fit's items up with the live ones."""
        nodes = view.nodes(baseline.item_type)
        # Before the ids: what changes in between is looked at again.
        num_reuses, ids_lineage = nodes.ids.num_reuses, nodes.ids_lineage
        live_rows = np.arange(view.num_nodes(baseline.item_type))
        fit_rows = baseline.item_rows.of(nodes, live_rows)
        return cls(baseline, np.where(fit_rows < 0, baseline.num_items + live_rows, fit_rows), ids_lineage, num_reuses)

    def is_outdated(self, view: GraphView) -> bool:
        """Return whether items were added or forgotten."""
        item_type = self.baseline.item_type
        return view.num_nodes(item_type) > self.num_items or view.nodes(item_type).ids_lineage != self.ids_lineage

    def scores(
        self, queries: Sequence[BoundQuery], histories: Sequence[History], view: GraphView
    ) -> npt.NDArray[np.float32]:
        """Return how much each live item suits the user of each query at its moment, float32 ``[n, num_items]``.

        The baseline knows nothing of an item that came after the fit: its score is the lowest of the query, and at most
        0.

        Args:
            queries: The queries; a user without a row was forgotten, whatever the fit knows.
            histories: The interactions of each user up to the moment, by live rows.
            view: The graph that the queries were bound to.
        """
        known, users = self.baseline.user_rows, view.nodes(USER)
        user_rows = np.array([known.of_id(users, query.user_id, query.user_row) for query in queries], np.int64)
        fit_histories = [self._in_fit(history, view) for history in histories]
        num_fit = self.baseline.num_items
        fit_scores = np.empty(
            (len(histories), num_fit + 1), np.float32
        )  # The last column is for items newer than the fit.
        times_ms = np.array([query.moment.timestamp_ms for query in queries], np.int64)
        for now_ms in np.unique(times_ms).tolist():
            chosen = np.flatnonzero(times_ms == now_ms)
            histories_then = [fit_histories[position] for position in chosen.tolist()]
            fit_scores[chosen, :num_fit] = self.baseline.baseline.scores(user_rows[chosen], histories_then, now_ms)
        fit_scores[:, num_fit] = np.minimum(fit_scores[:, :num_fit].min(axis=1, initial=0.0), 0.0)
        return np.take(fit_scores, np.minimum(self.fit_rows, num_fit), axis=1)

    def _in_fit(self, history: History, view: GraphView) -> History:
        """Return a history with the fit's rows for its items."""
        rows = history.item_rows.astype(np.int64)
        beyond = self.baseline.num_items + rows  # Also for the newest items, which may not be in the table yet.
        is_known = rows < len(self.fit_rows)
        reused = view.nodes(self.baseline.item_type).ids.reused_since(self.num_reuses, len(self.fit_rows))
        if len(reused):
            is_known &= ~np.isin(rows, reused)
        beyond[is_known] = self.fit_rows[rows[is_known]]
        return History(beyond.astype(np.int32), history.timestamps_ms, history.weights)
