"""The parts of a server that its AdminService watches and controls."""

from dataclasses import dataclass, field

from springtide.checkpoint.damage_log import DamageLog
from springtide.clock import wall_ms
from springtide.model.registry import ModelStore
from springtide.plugins.loading import Plugins
from springtide.ranking.indexing import Indexing
from springtide.ranking.ranker import Ranker
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.v1 import admin_pb2_grpc as pb_grpc
from springtide_services.metrics.calls import CallCounts
from springtide_services.metrics.memory import memory_limit_bytes
from springtide_services.serving.admission import Admission
from springtide_services.serving.adoption import Adoption
from springtide_services.serving.live_quality import LiveQuality
from springtide_services.serving.statuses import NotReadyError
from springtide_services.serving.steering_follower import SteeringFollower
from springtide_services.serving.variant_follower import VariantFollower
from springtide_services.serving.version_follower import VersionFollower
from springtide_services.stream.ingest import IngestLoop
from springtide_services.stream.writer_role import WriterRole
from springtide_services.training.training_folder import TrainingFolder

MAX_OPEN = 64  # Each takes one of the few threads of the process, which other parts need too.


@dataclass(frozen=True, slots=True)
class OwnProcess:
    """What a server knows of its own process.

    Attributes:
        calls: The calls of its listeners.
        started_ms: When it was started, in milliseconds since the Unix epoch.
        max_edges: The most edges of each type that the graph keeps; None for any number.
        memory_limit_bytes: Memory that it may take, as it was at the start; 0 if unknown. It is in several files, and
            each that is read lets other threads go first.
    """

    calls: CallCounts = field(default_factory=CallCounts)
    started_ms: int = field(default_factory=wall_ms)
    max_edges: int | None = None
    memory_limit_bytes: int = field(default_factory=memory_limit_bytes)


@dataclass(frozen=True, slots=True)
class AdminDependencies:
    """The parts of the server that the service watches and controls.

    Attributes:
        state: The live state: graph, context weights, stream position.
        ranker: Ranks over it.
        ingest: Reads the stream.
        models: The model registry.
        follower: Serves the registry's current version.
        trainings: The folder of requests for trainings and of the trainer's progress.
        quality: Live quality of the served model.
        adoption: Takes over rebuilt states.
        damage: What was found damaged among the checkpoints.
        plugins: The parts that plugins offer.
        steering: Lets the ranker answer by the newest rules, scenarios and experiments.
        variants: Loads the versions that experiments need.
        role: Whether this server writes checkpoints.
        indexing: Keeps the index of the items; None without one.
        max_lag_events: How far the stream may be behind, see ``IngestStatus.health``.
        process: What the server knows of its own process.
    """

    state: LiveState
    ranker: Ranker
    ingest: IngestLoop
    models: ModelStore
    follower: VersionFollower
    trainings: TrainingFolder
    quality: LiveQuality
    adoption: Adoption
    damage: DamageLog
    plugins: Plugins
    steering: SteeringFollower
    variants: VariantFollower
    role: WriterRole
    indexing: Indexing | None = None
    max_lag_events: int | None = None
    process: OwnProcess = field(default_factory=OwnProcess)


class AdminBase(pb_grpc.AdminServiceServicer):
    """What the parts of the AdminService have in common; each part is a room of its own.

    Attributes:
        loaded: The parts of the server; None while they are being loaded, and each call is answered UNAVAILABLE.
        max_deadline_s: The most seconds that a call may take.
        others: Counts the open calls, but for those of the status.

    Args:
        settings: Gives the deadline.
    """

    def __init__(self, settings: Settings) -> None:
        # These calls read and write files, which takes ten times longer than a ranking may.
        self.max_deadline_s = 10 * settings.server.max_deadline_s
        self.loaded: AdminDependencies | None = None
        self.others = Admission(MAX_OPEN)

    def parts(self) -> AdminDependencies:
        """Return the parts of the server.

        Raises:
            NotReadyError: While they are being loaded.
        """
        if self.loaded is None:
            raise NotReadyError("the server is still loading; its health service says when it is ready")
        return self.loaded
