"""The server process: reads the stream, holds the graph, follows the model registry, and answers over gRPC."""

import asyncio
import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog
import uvloop
from grpc_health.v1 import health_pb2

from springtide.clock import wall_ms
from springtide.errors import CheckpointLockLostError
from springtide.settings.model import Settings
from springtide_services.logs import log_settings
from springtide_services.metrics.catalogue import SERVER
from springtide_services.priorities import take_short_turns
from springtide_services.serving.admin_parts import AdminDependencies, OwnProcess
from springtide_services.serving.admin_service import AdminService
from springtide_services.serving.adoption import Adoption, Answering
from springtide_services.serving.background import begin_repeats
from springtide_services.serving.inspection.service import InspectionService
from springtide_services.serving.listeners import ADMIN, INSPECTION, RECOMMENDER, Listeners
from springtide_services.serving.lists_service import RecommenderDependencies
from springtide_services.serving.loading import Loaded, load
from springtide_services.serving.measuring import Measuring
from springtide_services.serving.plugin_status import stream_problem
from springtide_services.serving.positions import PositionWaiters
from springtide_services.serving.recommender_service import RecommenderService
from springtide_services.serving.standard_services import Health
from springtide_services.stream.ingest_status import IngestStatus
from springtide_services.stream.start_check import StartCheck
from springtide_services.stream.topics import with_client_id
from springtide_services.stream.writer_role import WriterRole
from springtide_services.termination import STOP_SIGNALS, ignore_signals
from springtide_services.thread_pools import limit_threads
from springtide_services.tracing.records import TracedRecords
from springtide_services.tracing.spans import Tracing, tracing_of
from springtide_services.training.training_folder import TrainingFolder

if TYPE_CHECKING:
    from springtide_services.metrics.endpoint import MetricsEndpoint

logger = structlog.stdlib.get_logger(__name__)

_SERVICE_NAMES = (
    "",  # The server as a whole.
    RECOMMENDER,
    ADMIN,
    INSPECTION,
)
_STREAM_SERVICE_NAME = "stream"  # SERVING while events are read; the others are not changed by it.
_STOP_GRACE_S = 5.0  # For the requests under way when the server stops.
_INGEST_POLL_S = 0.1
# How long a thread that waits for Python's lock lets another one run on; by default 5 ms. Beside 20,000 events/s and a
# training it took a quarter off an answer's 99th percentile in one run (record 0017).
_SWITCH_S = 0.0001
_START_GRACE_MS = 10_000  # A started server that cannot read the stream for that long answers from its checkpoint.


class Server:
    """One server on one event loop: ``start``, then ``wait`` until it fails or ``end`` is called, then ``stop``.

    Args:
        settings: All settings.
        skip_lost: Whether to skip events that are lost when the stream is first opened, and to accept another topic.
        tracing: The spans of this process; None for no traces.

    Raises:
        SettingsError: If the engine of the settings is not installed.
    """

    def __init__(self, settings: Settings, *, skip_lost: bool = False, tracing: Tracing | None = None) -> None:
        kafka = with_client_id(settings.kafka, "server", settings.server.port)
        settings = settings.model_copy(update={"kafka": kafka})
        self._skip_lost = skip_lost
        self._is_ready = False
        self._is_reading = False
        self._settings = settings
        self._role = WriterRole(settings.checkpoint)
        self._recommender = RecommenderService(settings)
        self._admin = AdminService(settings)
        self._inspection = InspectionService(settings)
        self._health = Health()
        self._loaded: Loaded | None = None
        self._loading: asyncio.Future[Loaded] | None = None
        self._ending = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._adoption: Adoption | None = None
        self._listeners = Listeners(settings.server, None if tracing is None else tracing.interceptor())
        self._measuring = Measuring(
            self._listeners.calls, self._recommender, lambda: self._admin.loaded, lambda: self._is_ready
        )
        self._metrics = _metrics_endpoint(settings, self._measuring)
        self._process = OwnProcess(self._listeners.calls, wall_ms(), settings.graph.max_edges)
        self._traced_records = None if tracing is None else TracedRecords(tracing)
        if self._traced_records is not None:
            self._recommender.on_reached = self._traced_records.link

    @property
    def address(self) -> str:
        """Address it listens on, ``host:port`` or ``[IPv6]:port``; empty before ``start``."""
        return self._listeners.address

    @property
    def admin_address(self) -> str:
        """Address it listens on for operators, ``host:port`` or ``[IPv6]:port``; empty before ``start``."""
        return self._listeners.admin_address

    @property
    def metrics_address(self) -> str:
        """Address that Prometheus reads, ``host:port``; empty before ``start``, and without metrics."""
        return "" if self._metrics is None else self._metrics.address

    async def start(self) -> None:
        """Listen, answer NOT_SERVING, and begin to load.

        Raises:
            SettingsError: If an address cannot be listened on.
        """
        for name in (*_SERVICE_NAMES, _STREAM_SERVICE_NAME):
            await self._health.set(name, health_pb2.HealthCheckResponse.NOT_SERVING)
        await self._listeners.start(self._recommender, self._admin, self._inspection, self._health)
        logger.info("listening", address=self.address)
        logger.info("listening_for_operators", address=self.admin_address)
        if self._metrics is not None:
            await asyncio.to_thread(self._metrics.start)
        self._task = asyncio.create_task(self._run(), name="server")

    def end(self) -> None:
        """Let ``wait`` return, now or once it is called; from the event loop's thread."""
        self._ending.set()

    async def wait(self) -> None:
        """Wait until ``end`` is called, or the server cannot go on.

        Raises:
            Exception: Why it cannot go on.
        """
        assert self._task is not None, "start comes first"
        ending = asyncio.ensure_future(self._ending.wait())
        await asyncio.wait([self._task, ending], return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if self._task.done() and not self._task.cancelled():
            self._task.result()

    async def stop(self) -> None:
        """Take no more requests, answer those under way, and write a last checkpoint."""
        await self._health.enter_graceful_shutdown()
        await self._listeners.stop(_STOP_GRACE_S)
        if self._metrics is not None:
            await asyncio.to_thread(self._metrics.stop)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._loaded is None:  # Nothing can have been written yet, and a wait for the lock is to end.
            await asyncio.to_thread(self._role.stop)
        if self._loading is not None:
            await asyncio.wait([self._loading])  # A thread cannot be cancelled, and what it has opened must be closed.
            if self._loading.exception() is None:
                loaded = self._loading.result()
                if self._adoption is not None:
                    self._adoption.give_up()
                await asyncio.to_thread(loaded.ingest.stop)
                if self._adoption is not None:
                    await asyncio.to_thread(self._adoption.join)
                await asyncio.to_thread(loaded.follower.stop)
                await asyncio.to_thread(loaded.steering.stop)
                await asyncio.to_thread(loaded.variants.stop)
                await asyncio.to_thread(loaded.answering.batcher.close)
                await asyncio.to_thread(loaded.answering.ranker.close)
        await asyncio.to_thread(self._role.stop)  # After the last checkpoint.
        logger.info("stopped", address=self.address)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        self._loading = asyncio.ensure_future(asyncio.to_thread(load, self._settings, self._role, self._skip_lost))
        loaded = self._loaded = await asyncio.shield(self._loading)
        positions = PositionWaiters(loop, lambda offsets: loaded.answering.state.has_reached(offsets))
        trainings = TrainingFolder.beside_models(self._settings)
        loaded.ingest.hooks.before_apply = loaded.quality.measure
        loaded.ingest.hooks.on_advance = positions.notify_and_give_way
        if self._traced_records is not None:
            loaded.ingest.hooks.on_applied = self._traced_records.note
        loaded.ingest.hooks.on_durable = loaded.note_deletions
        loaded.ingest.hooks.blocked_by = functools.partial(stream_problem, loaded.guards)

        def answer_from(new: Answering) -> Answering:
            """Answer from a state, and return what answered before; quick, and from any thread."""
            former, loaded.answering = loaded.answering, new
            loaded.steering.serve_on(new.state, new.ranker)  # First: no request is to be answered without what steers.
            loaded.variants.serve_on(new.ranker)
            loaded.quality.follow(new.ranker, new.state)
            loaded.forgetting.follow(new.state)
            self._recommender.loaded = RecommenderDependencies(new.state, new.ranker, new.batcher, positions)
            self._admin.loaded = self._inspection.loaded = AdminDependencies(
                new.state,
                new.ranker,
                loaded.ingest,
                loaded.models,
                loaded.follower,
                trainings,
                loaded.quality,
                adoption,
                loaded.checkpoints.damage,
                loaded.plugins,
                loaded.steering,
                loaded.variants,
                self._role,
                new.ranker.indexing,
                self._settings.kafka.max_lag_events,
                self._process,
            )
            positions.notify()
            return former

        adoption = Adoption(self._settings, loaded.plugins, loaded.ingest, loaded.follower, answer_from)
        self._adoption = adoption
        loaded.ingest.poison.on_poison = lambda until: adoption.make_whole(loaded.checkpoints, until)
        loaded.ingest.start()
        self._role.start(loaded.checkpoints)
        await asyncio.to_thread(loaded.steering.start)
        await asyncio.to_thread(loaded.follower.start)
        await asyncio.to_thread(loaded.variants.start)
        answer_from(loaded.answering)
        in_background = begin_repeats(
            self._settings, loaded, trainings, self._role, needs_weights=lambda: self._is_ready
        )
        try:
            await self._follow_ingest(loaded)
        finally:
            for task in in_background:
                task.cancel()

    async def _follow_ingest(self, loaded: Loaded) -> None:
        """Set the health to SERVING once the graph has caught up with the stream, or must do as it is.

        Raises:
            Exception: What ingest failed with, if there is nothing to serve, or the settings or the lock forbid it.
        """
        ingest = loaded.ingest
        while True:
            status = ingest.status()
            if status.failure is not None and not self._may_serve_without_stream(loaded, status.failure):
                raise status.failure
            if not self._is_ready and (ingest.is_caught_up or self._is_stuck_at_start(loaded, status)):
                # For the items that came after the model was loaded, and so that the first request waits for nothing.
                await asyncio.to_thread(lambda: loaded.refresh(for_requests=True))
                for name in _SERVICE_NAMES:
                    await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
                self._is_ready = True
                logger.info("serving", address=self.address, next_offsets=dict(status.next_offsets))
            health = status.health(
                has_caught_up=ingest.is_caught_up, max_lag_events=self._settings.kafka.max_lag_events
            )
            await self._set_stream_health(health == "reading")
            await asyncio.sleep(_INGEST_POLL_S)

    def _may_serve_without_stream(self, loaded: Loaded, failure: BaseException) -> bool:
        if isinstance(failure, CheckpointLockLostError):  # Another server has taken over.
            return False
        return self._settings.kafka.on_failure == "serve" and (self._is_ready or loaded.is_restored)

    def _is_stuck_at_start(self, loaded: Loaded, status: IngestStatus) -> bool:
        """Return whether the stream cannot be read, but the checkpoint can be served."""
        if status.problem is None or not loaded.is_restored or self._settings.kafka.on_failure != "serve":
            return False
        took_ms = abs(wall_ms() - status.problem.since_ms)  # The clock may have been set back meanwhile.
        return status.problem.is_final or took_ms > _START_GRACE_MS

    async def _set_stream_health(self, is_reading: bool) -> None:
        if is_reading == self._is_reading:
            return
        self._is_reading = is_reading
        serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
        await self._health.set(_STREAM_SERVICE_NAME, serving if is_reading else not_serving)


def _metrics_endpoint(settings: Settings, measuring: Measuring) -> "MetricsEndpoint | None":
    """Return what listens for Prometheus; None if the settings name no port.

    Raises:
        SettingsError: As ``MetricsEndpoint`` does.
    """
    if settings.metrics.port is None:
        return None
    from springtide_services.metrics.endpoint import MetricsEndpoint  # It imports the client library.

    return MetricsEndpoint(settings, "port", SERVER, measuring.samples)


def serve(settings: Settings, on_listening: Callable[[str], None] | None = None, *, skip_lost: bool = False) -> None:
    """Run a server in this process, until a stop signal comes.

    Args:
        settings: All settings.
        on_listening: Called with the address once it is bound.
        skip_lost: Whether to skip events that are lost when the stream is first opened, and to accept another topic.

    Raises:
        SettingsError: If the address cannot be listened on.
        CheckpointLockedError: If another process writes checkpoints to ``checkpoint.url``.
        Exception: Why the server cannot go on, such as ``OffsetsLostError``.
    """
    log_settings(settings)
    limit_threads(settings.server.num_threads)
    sys.setswitchinterval(_SWITCH_S)
    if settings.server.engine == "grpcio":
        take_short_turns()  # The native engine hands calls from thread to thread: it answered a third fewer by them.
    with StartCheck(settings):
        uvloop.run(_serve(settings, on_listening, skip_lost))
    ignore_signals()  # Everything is written; only the interpreter is still to exit.


async def _serve(settings: Settings, on_listening: Callable[[str], None] | None, skip_lost: bool) -> None:
    with tracing_of(settings, "server") as tracing:
        server = Server(settings, skip_lost=skip_lost, tracing=tracing)
        for number in STOP_SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, server.end)
        await server.start()
        try:
            if on_listening is not None:
                on_listening(server.address)
            await server.wait()
        finally:
            await server.stop()
