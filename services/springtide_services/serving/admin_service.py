"""AdminService: watching and controlling a running recommender."""

import asyncio
import base64
import functools
from dataclasses import dataclass
from typing import Any

from springtide.checkpoint.damage_log import DamageLog, FoundDamage
from springtide.clock import wall_ms
from springtide.errors import InvalidRequestError
from springtide.model.manifest import TRAINING_MODES, ModelManifest, TrainingMode, UnreadableManifest
from springtide.model.registry import ModelStore
from springtide.plugins.loading import Plugins
from springtide.ranking.indexing import Indexing
from springtide.settings.model import Settings
from springtide.state import LiveState, StreamGap
from springtide.v1 import admin_pb2 as pb
from springtide.v1 import admin_pb2_grpc as pb_grpc
from springtide.v1 import recommender_pb2
from springtide_services.access.guard import caller
from springtide_services.serving.admission import Admission
from springtide_services.serving.adoption import Adoption, AdoptionStatus
from springtide_services.serving.live_quality import LiveQuality, LiveQualityStatus
from springtide_services.serving.plugin_status import plugin_fields
from springtide_services.serving.quality_drop import Quality, WindowQuality
from springtide_services.serving.statuses import (
    Context,
    Method,
    NotReadyError,
    Request,
    Response,
    shown,
    with_deadline_and_status,
)
from springtide_services.serving.translation import to_source, to_timestamp
from springtide_services.serving.version_follower import BypassedModel, VersionFollower
from springtide_services.stream.current_problem import LastingProblem
from springtide_services.stream.ingest import IngestLoop
from springtide_services.stream.writer_role import WriterRole
from springtide_services.training.training_folder import TrainingFolder, TrainingStatus

_DEFAULT_PAGE_SIZE = 50
_MAX_OPEN = 64  # Each takes one of the few threads of the process, which other parts need too.
_MAX_DIGITS = 18  # Of the name of a model or a checkpoint.
_SHOWN = 40  # Characters of a wrong name that its refusal repeats.
_MAX_PAGE_SIZE = 1_000  # More is cut down to it, as AIP-158 has it.

_MODE_NAMES: dict[str, str] = {mode: f"TRAINING_MODE_{mode.upper()}" for mode in TRAINING_MODES}
_MODES: dict[int, TrainingMode | None] = {
    pb.TRAINING_MODE_UNSPECIFIED: None,
    **{pb.TrainingMode.Value(_MODE_NAMES[mode]): mode for mode in TRAINING_MODES},
}


@dataclass(frozen=True, slots=True)
class AdminDependencies:
    """The parts of the server that the service watches and controls.

    Attributes:
        state: The live state: graph, context weights, stream position.
        ingest: Reads the stream.
        models: The model registry.
        follower: Serves the registry's current version.
        trainings: The folder of requests for trainings and of the trainer's progress.
        quality: Live quality of the served model.
        adoption: Takes over rebuilt states.
        damage: What was found damaged among the checkpoints.
        plugins: The parts that plugins offer.
        indexing: Keeps the index of the items; None without one.
        role: Whether this server writes checkpoints.
        max_lag_events: How far the stream may be behind, see ``IngestStatus.health``.
    """

    state: LiveState
    ingest: IngestLoop
    models: ModelStore
    follower: VersionFollower
    trainings: TrainingFolder
    quality: LiveQuality
    adoption: Adoption
    damage: DamageLog
    plugins: Plugins
    role: WriterRole
    indexing: Indexing | None = None
    max_lag_events: int | None = None


def _bounded(method: Method["AdminService", Request, Response]) -> Method["AdminService", Request, Response]:
    """Decorate a method: a call is refused where too many are open."""

    @functools.wraps(method)
    async def answer(self: "AdminService", request: Request, context: Context[Request, Response]) -> Response:
        with self._others.admit():
            return await method(self, request, context)

    return answer


class AdminService(pb_grpc.AdminServiceServicer):
    """Watches and controls a running recommender.

    Attributes:
        loaded: The parts of the server; None while they are being loaded, and each call is answered UNAVAILABLE.
        max_deadline_s: The most seconds that a call may take.

    Args:
        settings: Gives the deadline.
    """

    def __init__(self, settings: Settings) -> None:
        # These calls read and write files, which takes ten times longer than a ranking may.
        self.max_deadline_s = 10 * settings.server.max_deadline_s
        self.loaded: AdminDependencies | None = None
        self._statuses, self._others = Admission(_MAX_OPEN), Admission(_MAX_OPEN)

    @with_deadline_and_status
    async def GetStatus(  # noqa: N802  # The proto's name.
        self, request: pb.GetStatusRequest, context: Context[pb.GetStatusRequest, pb.GetStatusResponse]
    ) -> pb.GetStatusResponse:
        """Return the status of the server."""
        with self._statuses.admit():  # Counted apart: who asks for the status is answered whatever else is open.
            return await asyncio.to_thread(_status, self._loaded())

    @with_deadline_and_status
    @_bounded
    async def ListModels(  # noqa: N802  # The proto's name.
        self, request: pb.ListModelsRequest, context: Context[pb.ListModelsRequest, pb.ListModelsResponse]
    ) -> pb.ListModelsResponse:
        """List a page of models, newest first."""
        return await asyncio.to_thread(_page_of_models, self._loaded().models, request)

    @with_deadline_and_status
    @_bounded
    async def StartTraining(  # noqa: N802  # The proto's name.
        self, request: pb.StartTrainingRequest, context: Context[pb.StartTrainingRequest, pb.StartTrainingResponse]
    ) -> pb.StartTrainingResponse:
        """Write a checkpoint, and request a training on it."""
        loaded = self._loaded()
        if request.mode not in _MODES:
            raise InvalidRequestError(
                "mode", f"no training mode {request.mode} (choices: {', '.join(pb.TrainingMode.keys())})"
            )
        checkpoint = await asyncio.to_thread(loaded.ingest.checkpoint_now)
        training = await asyncio.to_thread(loaded.trainings.ask, _MODES[request.mode], checkpoint.name)
        return pb.StartTrainingResponse(request_id=training.request_id, checkpoint=checkpoint.name)

    @with_deadline_and_status
    @_bounded
    async def PromoteModel(  # noqa: N802  # The proto's name.
        self, request: pb.PromoteModelRequest, context: Context[pb.PromoteModelRequest, pb.PromoteModelResponse]
    ) -> pb.PromoteModelResponse:
        """Make a version the current one; this server serves it when the call returns."""
        loaded = self._loaded()
        if not request.version:
            raise InvalidRequestError("version", "wanted a version that ListModels lists, got an empty string")
        await asyncio.to_thread(loaded.follower.promote, request.version, actor=_actor(context))
        return pb.PromoteModelResponse(model=await asyncio.to_thread(_one_model, loaded.models, request.version))

    @with_deadline_and_status
    @_bounded
    async def RollbackModel(  # noqa: N802  # The proto's name.
        self, request: pb.RollbackModelRequest, context: Context[pb.RollbackModelRequest, pb.RollbackModelResponse]
    ) -> pb.RollbackModelResponse:
        """Make the version before the current one current again; this server serves it when the call returns."""
        loaded = self._loaded()
        version = await asyncio.to_thread(loaded.follower.roll_back, actor=_actor(context))
        return pb.RollbackModelResponse(model=await asyncio.to_thread(_one_model, loaded.models, version))

    @with_deadline_and_status
    @_bounded
    async def ServeRebuild(  # noqa: N802  # The proto's name.
        self, request: pb.ServeRebuildRequest, context: Context[pb.ServeRebuildRequest, pb.ServeRebuildResponse]
    ) -> pb.ServeRebuildResponse:
        """Begin to serve a rebuilt state."""
        if not _is_number(request.rebuilt):
            raise InvalidRequestError(
                "rebuilt", f"wanted the name of a rebuilt checkpoint, got {request.rebuilt[:_SHOWN]!r}"
            )
        await asyncio.to_thread(self._loaded().adoption.start, request.rebuilt)
        return pb.ServeRebuildResponse()

    def _loaded(self) -> AdminDependencies:
        if self.loaded is None:
            raise NotReadyError("the server is still loading; its health service says when it is ready")
        return self.loaded


def _actor(context: Context[Any, Any]) -> str:
    """Return who calls, for the audit log: the name of the token, and the address."""
    return f"{name}, {context.peer()}" if (name := caller()) else context.peer()


def _status(loaded: AdminDependencies) -> pb.GetStatusResponse:
    ingest = loaded.ingest.status()
    view = loaded.state.graph.view()
    training = loaded.trainings.status()
    as_of = loaded.state.clock.read(wall_ms())
    role = loaded.role.status()
    return pb.GetStatusResponse(
        model_version=loaded.follower.served_version,
        position=recommender_pb2.GraphPosition(next_offsets=ingest.next_offsets),
        lag_events=ingest.lag_events if ingest.is_connected else -1,
        num_nodes={node_type: view.nodes(node_type).num_living for node_type in view.node_types},
        num_edges={":".join(edge_type): len(view.edges(edge_type)) for edge_type in view.edge_types},
        num_dead_letters=ingest.dead_letters,
        newest_event_time=None if view.newest_ms is None else to_timestamp(view.newest_ms),
        checkpoint_time=None if ingest.last_checkpoint_ms is None else to_timestamp(ingest.last_checkpoint_ms),
        graph_bytes=loaded.state.graph.num_bytes,
        is_broker_connected=ingest.is_connected,
        stream_health=ingest.health(has_caught_up=loaded.ingest.is_caught_up, max_lag_events=loaded.max_lag_events),
        role=role.role,
        writer=role.holder,
        fencing_number=role.fence,
        training=None if training is None else _training(training),
        live_quality=_live_quality(loaded.quality.status()),
        lag_age_s=ingest.lag_age_s,
        silent_partitions=ingest.silent_partitions,
        stream_problem=None if ingest.problem is None else _stream_problem(ingest.problem),
        stream_gaps=[_stream_gap(gap) for gap in ingest.gaps],
        num_dead_letters_not_written=ingest.num_letters_not_written,
        num_duplicates=ingest.num_duplicates,
        num_changed_duplicates=ingest.num_changed_duplicates,
        rebuild_reasons=map(shown, loaded.state.lacking),
        rebuild=None if loaded.adoption.status is None else _rebuild(loaded.adoption.status),
        as_of_ms=as_of.timestamp_ms,
        as_of_source=to_source(as_of.source),
        parts_with_torch=loaded.follower.parts_with_torch,
        index=None if loaded.indexing is None else _index(loaded.indexing),
        damaged_checkpoints=[_damaged_checkpoint(found) for found in loaded.damage.latest],
        bypassed_model=None if loaded.follower.bypassed is None else _bypassed(loaded.follower.bypassed),
        **plugin_fields(loaded.plugins),
    )


def _bypassed(model: BypassedModel) -> pb.BypassedModel:
    return pb.BypassedModel(
        version=model.version, fault=shown(model.fault), instead=model.instead, found_time=to_timestamp(model.found_ms)
    )


def _damaged_checkpoint(found: FoundDamage) -> pb.DamagedCheckpoint:
    return pb.DamagedCheckpoint(
        name=found.checkpoint,
        fault=shown(found.fault),
        instead=shown(found.instead),
        found_time=to_timestamp(found.found_ms),
    )


def _index(indexing: Indexing) -> pb.IndexStatus:
    status, counts = indexing.status, indexing.counts
    return pb.IndexStatus(
        name=status.name,
        state=status.state,
        model_version=status.version,
        failure=shown(status.reason),
        num_items=status.num_items,
        num_bytes=status.num_bytes,
        build_s=status.build_s,
        recall_at_20=status.recall,
        num_users=status.num_users,
        index_ms=status.index_ms,
        exact_ms=status.exact_ms,
        num_changed=status.num_changed,
        num_proven=counts.proven,
        num_by_index=counts.by_index,
        num_exact=counts.exact,
        num_failed=counts.failed,
    )


def _rebuild(status: AdoptionStatus) -> pb.RebuildStatus:
    return pb.RebuildStatus(
        rebuilt=status.rebuilt,
        stage=status.stage,
        checkpoint=status.checkpoint,
        failure=shown(status.failure),
        update_time=to_timestamp(status.updated_ms),
    )


def _stream_problem(lasting: LastingProblem) -> pb.StreamProblem:
    return pb.StreamProblem(
        kind=lasting.problem.kind,
        message=shown(lasting.problem.message),
        since=to_timestamp(lasting.since_ms),
        is_final=lasting.is_final,
    )


def _stream_gap(gap: StreamGap) -> pb.StreamGap:
    return pb.StreamGap(
        topic=gap.topic,
        partition=gap.partition,
        from_offset=gap.from_offset,
        to_offset=gap.to_offset,
        reason=gap.reason,
        found_time=to_timestamp(gap.found_ms),
        read_until_time=None if gap.read_until_ms is None else to_timestamp(gap.read_until_ms),
    )


def _live_quality(status: LiveQualityStatus) -> pb.LiveQuality:
    drop = status.drop
    return pb.LiveQuality(
        recent=_window(status.recent),
        versions=[_window(version) for version in status.versions],
        drop=None
        if drop is None
        else pb.QualityDrop(
            model_version=drop.version,
            first_ndcg_at_20=drop.first_ndcg,
            ndcg_at_20=drop.ndcg,
            request_id=status.request_id,
        ),
    )


def _window(window: WindowQuality) -> pb.WindowQuality:
    return pb.WindowQuality(model_version=window.version, all=_quality(window.all), new_to_user=_quality(window.unseen))


def _quality(quality: Quality) -> pb.RankingQuality:
    return pb.RankingQuality(
        num_questions=quality.num_questions,
        ndcg_at_20=quality.ndcg,
        hit_rate_at_20=quality.hit_rate,
        mrr=quality.mrr,
    )


def _training(status: TrainingStatus) -> pb.TrainingStatus:
    return pb.TrainingStatus(
        stage=status.stage,
        done=status.done,
        total=status.total,
        loss=status.loss,
        mode=_MODE_NAMES.get(status.mode, "TRAINING_MODE_UNSPECIFIED"),
        request_id=status.request_id,
        model_version=status.model_version,
        failure=shown(status.failure),
        update_time=to_timestamp(status.updated_ms) if status.updated_ms else None,
    )


def _page_of_models(models: ModelStore, request: pb.ListModelsRequest) -> pb.ListModelsResponse:
    if request.page_size < 0:
        raise InvalidRequestError("page_size", f"wanted 0 to {_MAX_PAGE_SIZE:,}, got {request.page_size:,}")
    page_size = min(request.page_size or _DEFAULT_PAGE_SIZE, _MAX_PAGE_SIZE)
    versions = models.versions()
    if request.page_token:
        last = int(_version_of(request.page_token))
        versions = [version for version in versions if int(version) < last]  # The last one may have been pruned since.
    page = versions[:page_size]
    current = models.current()
    return pb.ListModelsResponse(
        models=[_model(manifest, current) for manifest in models.manifests(page)],
        next_page_token=_page_token(page[-1]) if len(versions) > page_size else "",
    )


def _page_token(version: str) -> str:
    return base64.urlsafe_b64encode(version.encode()).decode()


def _version_of(page_token: str) -> str:
    try:
        version = base64.b64decode(page_token, altchars=b"-_", validate=True).decode()
    except ValueError:  # Not base64, or not UTF-8.
        version = ""
    if not _is_number(version):
        raise InvalidRequestError("page_token", "wanted the next_page_token of the page before")
    return version


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal() and len(name) <= _MAX_DIGITS


def _one_model(models: ModelStore, version: str) -> pb.Model:
    return _model(models.manifest(version), models.current())


def _model(manifest: ModelManifest | UnreadableManifest, current: str | None) -> pb.Model:
    is_current = manifest.version == current
    if isinstance(manifest, UnreadableManifest):
        return pb.Model(version=manifest.version, is_current=is_current, unreadable_reason=shown(manifest.reason))
    gate = manifest.gate
    contestants = gate.get("contestants", {})
    return pb.Model(
        version=manifest.version,
        create_time=to_timestamp(manifest.created_ms),
        is_current=is_current,
        training=manifest.training,
        num_interactions=int(manifest.graph_cut.get("num_interactions", 0)),
        metrics=manifest.metrics,
        parts={kind: f"{part['name']} ({part['origin']})" for kind, part in manifest.parts.items()},
        verdict=gate.get("verdict", ""),
        verdict_reason=gate.get("reason", ""),
        gate_ndcg_at_20={name: means["all"] for name, means in contestants.items()},
        # Before baselines were asked in parts, all contestants were asked all questions.
        gate_num_questions={
            name: means.get("questions", gate.get("questions", 0)) for name, means in contestants.items()
        },
    )
