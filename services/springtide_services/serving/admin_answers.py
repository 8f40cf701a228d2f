"""What the AdminService answers: the status of the server and its models, as messages."""

import base64
from typing import Any

from springtide.checkpoint.damage_log import FoundDamage
from springtide.clock import wall_ms
from springtide.errors import InvalidRequestError
from springtide.model.manifest import TRAINING_MODES, ModelManifest, UnreadableManifest
from springtide.model.registry import ModelStore
from springtide.ranking.indexing import Indexing
from springtide.state import StreamGap
from springtide.v1 import admin_pb2 as pb
from springtide.v1 import recommender_pb2
from springtide_services.metrics.calls import MethodCounts
from springtide_services.metrics.memory import resident_bytes
from springtide_services.serving.admin_parts import AdminDependencies, OwnProcess
from springtide_services.serving.adoption import AdoptionStatus
from springtide_services.serving.live_quality import LiveQualityStatus
from springtide_services.serving.plugin_status import plugin_fields
from springtide_services.serving.quality_drop import Quality, WindowQuality
from springtide_services.serving.response_translation import to_source, to_timestamp
from springtide_services.serving.statuses import shown
from springtide_services.serving.steering_follower import SteeringFollower
from springtide_services.serving.version_follower import BypassedModel
from springtide_services.stream.current_problem import LastingProblem
from springtide_services.training.training_folder import TrainingStatus

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1_000  # More is cut down to it, as AIP-158 has it.
MAX_DIGITS = 18  # Of the name of a model or a checkpoint.

MODE_NAMES: dict[str, str] = {mode: f"TRAINING_MODE_{mode.upper()}" for mode in TRAINING_MODES}


def status_answer(loaded: AdminDependencies) -> pb.GetStatusResponse:
    """Return the status of the server."""
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
        steering=_steering(loaded.steering),
        variant_versions=loaded.variants.loaded,
        variant_faults={version: shown(fault) for version, fault in loaded.variants.faults.items()},
        num_untallied=loaded.state.tallies.num_left_out,
        **plugin_fields(loaded.plugins),
        **_process_fields(loaded.process),
        num_applied=ingest.num_applied,
    )


def _process_fields(process: OwnProcess) -> dict[str, Any]:
    return {
        "start_time": to_timestamp(process.started_ms),
        "resident_bytes": resident_bytes(),
        "memory_limit_bytes": process.memory_limit_bytes,
        "calls": [_calls(each) for each in process.calls.methods() if each.num_started],
        "num_open_calls": process.calls.num_open,
        "max_edges": process.max_edges or 0,
    }


def _calls(counts: MethodCounts) -> pb.MethodCalls:
    recent = counts.recent()
    return pb.MethodCalls(
        method=counts.path.lstrip("/"),
        num_ended=counts.num_ended,
        num_last_minute=recent.num,
        p50_ms=recent.p50_ms,
        p95_ms=recent.p95_ms,
        p99_ms=recent.p99_ms,
    )


def _steering(follower: SteeringFollower) -> pb.SteeringStatus:
    steering = follower.steering
    return pb.SteeringStatus(
        version=steering.version,
        num_rules=len(steering.rules),
        num_scenarios=len(steering.scenarios),
        num_experiments=len(steering.experiments),
        fault=shown(follower.fault),
        is_from_file=follower.is_from_file,
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
    return pb.WindowQuality(
        model_version=window.version, all=quality_message(window.all), new_to_user=quality_message(window.unseen)
    )


def quality_message(quality: Quality) -> pb.RankingQuality:
    """Return metrics as a message."""
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
        mode=MODE_NAMES.get(status.mode, "TRAINING_MODE_UNSPECIFIED"),
        request_id=status.request_id,
        model_version=status.model_version,
        failure=shown(status.failure),
        update_time=to_timestamp(status.updated_ms) if status.updated_ms else None,
    )


def page_of_models(models: ModelStore, request: pb.ListModelsRequest) -> pb.ListModelsResponse:
    """Return a page of models, newest first.

    Raises:
        InvalidRequestError: If the size or the token of the page is wrong.
    """
    page_size = page_size_of(request.page_size)
    versions = models.versions()
    if request.page_token:
        last = int(version_of(request.page_token))
        versions = [version for version in versions if int(version) < last]  # The last one may have been pruned since.
    page = versions[:page_size]
    current = models.current()
    return pb.ListModelsResponse(
        models=[_model(manifest, current) for manifest in models.manifests(page)],
        next_page_token=page_token(page[-1]) if len(versions) > page_size else "",
    )


def page_size_of(wanted: int) -> int:
    """Return how many entries a page has at most, of the size that a request names; 0 for the usual one.

    Raises:
        InvalidRequestError: If it is negative.
    """
    if wanted < 0:
        raise InvalidRequestError("page_size", f"wanted 0 to {MAX_PAGE_SIZE:,}, got {wanted:,}")
    return min(wanted or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def page_token(version: str) -> str:
    """Return the token of the page after a version or another number."""
    return base64.urlsafe_b64encode(version.encode()).decode()


def version_of(token: str) -> str:
    """Return the version or number that a page's token names.

    Raises:
        InvalidRequestError: If it is no such token.
    """
    try:
        version = base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except ValueError:  # Not base64, or not UTF-8.
        version = ""
    if not is_number(version):
        raise InvalidRequestError("page_token", "wanted the next_page_token of the page before")
    return version


def is_number(name: str) -> bool:
    """Return whether a text is a number of not too many digits, as versions and checkpoints are named."""
    return name.isascii() and name.isdecimal() and len(name) <= MAX_DIGITS


def one_model(models: ModelStore, version: str) -> pb.Model:
    """Return a model.

    Raises:
        ModelError: If there is none of this version.
    """
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
