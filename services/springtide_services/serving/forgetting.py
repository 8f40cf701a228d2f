"""Taking deleted nodes out of the model registry, and out of the model in memory, while the server runs."""

import threading
from collections.abc import Sequence

import structlog

from springtide.clock import Deadline
from springtide.errors import ModelError, SpringtideError
from springtide.graph.tombstones import Tombstones, TombstonesSnapshot
from springtide.model.forgetting import ForgetUsers, Living, without
from springtide.model.registry import ModelStore
from springtide.state import LiveState
from springtide_services.serving.version_follower import VersionFollower

logger = structlog.stdlib.get_logger(__name__)

_LOOK_S = 10.0  # Between two looks for new versions: a training may have begun before a deletion.


class ModelForgetting:
    """Looks through the versions of a registry once a checkpoint holds deletions, and through each new version.

    Deletions are told by the tombstones of checkpoints, so that none is missed after a crash, and no list of ids has to
    be kept. What a version loses is its ids, vectors and counts; of a baseline, what it keeps of the user.

    Args:
        models: The registry.
        follower: Serves its current version.
        forget_users: See ``springtide.model.forgetting``.
        every_s: Least seconds between two looks through all versions.
    """

    def __init__(
        self,
        models: ModelStore,
        follower: VersionFollower,
        forget_users: ForgetUsers,
        every_s: float,
    ) -> None:
        self._models = models
        self._follower = follower
        self._forget_users = forget_users
        self._state: LiveState | None = None
        self._every_s = every_s
        self._lock = threading.Lock()
        self._noted: tuple[int, Sequence[TombstonesSnapshot]] = (0, ())
        self._looked_for = -1  # How many nodes had been forgotten at the last look.
        self._clean: dict[str, int] = {}  # By version, how many nodes had been forgotten when it was looked through.
        self._next_pass = Deadline.after(0.0)
        self._next_look = Deadline.after(0.0)

    def follow(self, state: LiveState) -> None:
        """Take the nodes of another state for those that live."""
        self._state = state

    def note(self, num_forgotten: int, tombstones: Sequence[TombstonesSnapshot]) -> None:
        """Note the deletions that a checkpoint holds; from any thread.

        Args:
            num_forgotten: How many nodes have been forgotten since the beginning.
            tombstones: The deletions; they never change.
        """
        with self._lock:
            self._noted = num_forgotten, tombstones

    def run_if_due(self) -> None:
        """Look through the versions that have not been since the last deletion, if it is time; in one thread.

        Raises:
            SpringtideError: If a version cannot be looked through; the others were.
        """
        with self._lock:
            num_forgotten, saved = self._noted
        state = self._state
        is_new = num_forgotten != self._looked_for
        if state is None or not saved or not (self._next_pass if is_new else self._next_look).is_over():
            return
        self._looked_for, self._next_look = num_forgotten, Deadline.after(_LOOK_S)
        if is_new:
            self._next_pass = Deadline.after(self._every_s)
        versions = self._models.versions()
        self._clean = {version: self._clean[version] for version in versions if version in self._clean}
        due = [version for version in versions if self._clean.get(version) != num_forgotten]
        if not due:
            return
        tombstones = Tombstones()
        tombstones.restore(saved)
        living = Living(state.graph.view(), tombstones)
        faults = []
        for version in due:
            try:
                self._look_through(version, living)
            except SpringtideError as error:
                faults.append(str(error))
            else:
                self._clean[version] = num_forgotten
        self._models.delete_unfinished()
        if faults:
            raise ModelError("; ".join(faults))

    def _look_through(self, version: str, living: Living) -> None:
        if not living.may_lack(*self._models.names_in(version)):
            return
        try:
            artifact = self._models.load(version)
            gone = living.gone(artifact)
            if not gone:
                return
            self._models.rewrite(without(artifact, gone, self._forget_users), str(gone))
        except ModelError as error:
            if not self._models.drop(version, reason="it holds deleted nodes, and cannot be rewritten"):
                raise
            logger.warning("model_dropped", version=version, reason=str(error))
            return
        logger.info("model_rewritten", version=version, what=str(gone))
        self._follower.reload(version)
