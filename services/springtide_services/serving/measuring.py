"""What a server gives to Prometheus: read from its parts when it is asked."""

from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version

from springtide.errors import ModelError
from springtide.model.registry import ModelStore
from springtide_services.metrics.call_samples import call_samples
from springtide_services.metrics.calls import CallCounts
from springtide_services.metrics.samples import Sample
from springtide_services.metrics.server_samples import ServerFigures, server_samples
from springtide_services.serving.admin_answers import status_answer
from springtide_services.serving.admin_parts import AdminDependencies
from springtide_services.serving.lists_service import ListsService
from springtide_services.training.training_folder import TrainingFolder


class Measuring:
    """Reads the values of a server's metrics; from any thread.

    Args:
        calls: The calls of the listeners.
        recommender: Has the batcher, and counts the answers.
        loaded: Returns the parts of the server; None while they are being loaded.
        is_ready: Returns whether the server has caught up.
    """

    def __init__(
        self,
        calls: CallCounts,
        recommender: ListsService,
        loaded: Callable[[], AdminDependencies | None],
        is_ready: Callable[[], bool],
    ) -> None:
        self._calls = calls
        self._recommender = recommender
        self._loaded = loaded
        self._is_ready = is_ready
        self._created_ms: dict[str, int | None] = {}  # Of the version that serves.
        try:
            self._version = version("springtide")
        except PackageNotFoundError:  # Run from a checkout that is not installed.
            self._version = "unknown"

    def samples(self) -> Iterator[Sample]:
        """Yield all values that there are."""
        yield Sample("springtide_info", 1, (self._version,))
        yield Sample("springtide_ready", self._is_ready())
        yield from call_samples(self._calls)
        if (loaded := self._loaded()) is not None:
            yield from server_samples(status_answer(loaded), self._figures(loaded))

    def _figures(self, loaded: AdminDependencies) -> ServerFigures:
        ingest, recommending = loaded.ingest.status(), self._recommender.loaded
        batches = None if recommending is None else recommending.batcher.counts
        return ServerFigures(
            num_ignored=ingest.num_ignored,
            num_answers={str(name): count for name, count in self._recommender.num_answers.items()},
            num_queries={} if batches is None else batches.num_queries,
            num_batches={} if batches is None else batches.num_batches,
            num_waiting=0 if batches is None else batches.num_waiting,
            model_created_ms=self._created_of(loaded.models, loaded.follower.served_version),
            last_training_s=_last_training_s(loaded.trainings),
            num_checkpoints=ingest.checkpoints.num_written,
            num_checkpoint_failures=ingest.checkpoints.num_failed,
            checkpoint_write_s=ingest.checkpoints.last_s,
        )

    def _created_of(self, models: ModelStore, served: str) -> int | None:
        """Return when a version was published; its manifest is read once."""
        if not served:
            return None
        if served not in self._created_ms:
            try:
                self._created_ms = {served: models.manifest(served).created_ms}
            except (ModelError, OSError):  # It serves, and its files are gone: nothing is known of its age.
                self._created_ms = {served: None}
        return self._created_ms[served]


def _last_training_s(trainings: TrainingFolder) -> float | None:
    """Return how long the last training took, if it is over."""
    status = trainings.status()
    if status is None or status.stage not in ("done", "failed"):
        return None
    return (status.updated_ms - status.started_ms) / 1_000
