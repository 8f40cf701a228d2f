"""What a server's status gives to Prometheus, and what it measures beside."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from google.protobuf.timestamp_pb2 import Timestamp

from springtide.v1 import admin_pb2 as pb
from springtide_services.metrics.samples import Sample

STREAM_STATES = ("reading", "catching_up", "behind", "silent", "waiting", "ended")


@dataclass(frozen=True, slots=True)
class ServerFigures:
    """What a server measures that its status does not have.

    Attributes:
        num_ignored: Valid interactions that no interaction type names.
        num_answers: Rankings, by what they know of the user.
        num_queries: Queries ranked, by where.
        num_batches: Batches of these, by where.
        num_waiting: Queries that wait for a batch.
        model_created_ms: When the served version was published, in milliseconds since the Unix epoch; None without one.
        last_training_s: How long the last training took that is over; None before the first.
        num_checkpoints: Checkpoints written since the start.
        num_checkpoint_failures: Those that could not be written.
        checkpoint_write_s: How long the last one took; None before the first.
    """

    num_ignored: int = 0
    num_answers: Mapping[str, int] = field(default_factory=dict)
    num_queries: Mapping[str, int] = field(default_factory=dict)
    num_batches: Mapping[str, int] = field(default_factory=dict)
    num_waiting: int = 0
    model_created_ms: int | None = None
    last_training_s: float | None = None
    num_checkpoints: int = 0
    num_checkpoint_failures: int = 0
    checkpoint_write_s: float | None = None


def server_samples(status: pb.GetStatusResponse, figures: ServerFigures) -> Iterator[Sample]:
    """Yield the values of a server that has loaded its state, but for those of its calls."""
    yield from _of_stream(status, figures)
    yield from _of_graph(status)
    yield from _of_ranking(figures)
    if status.HasField("index"):
        yield from _of_index(status.index)
    yield from _of_learning(status, figures)
    yield from _of_quality(status)
    yield from _of_keeping(status, figures)
    yield from _of_steering(status)
    for failing in status.failing_parts:
        labels = (failing.part, failing.hook)
        yield Sample("springtide_plugin_failures_total", failing.num_failed, labels)
        yield Sample("springtide_plugin_blocked", failing.is_blocked, labels)
    for part, count in sorted(status.num_bypassed.items()):
        yield Sample("springtide_plugin_bypassed_total", count, (part,))


def _of_stream(status: pb.GetStatusResponse, figures: ServerFigures) -> Iterator[Sample]:
    yield Sample("springtide_stream_up", status.stream_health == "reading")
    for state in STREAM_STATES:
        yield Sample("springtide_stream_state", status.stream_health == state, (state,))
    if status.HasField("stream_problem"):
        yield Sample("springtide_stream_problem", 1, (status.stream_problem.kind,))
    if status.lag_events >= 0:
        yield Sample("springtide_stream_lag_events", status.lag_events)
    yield Sample("springtide_stream_lag_age_seconds", status.lag_age_s)
    yield Sample("springtide_stream_silent_partitions", len(status.silent_partitions))
    yield Sample("springtide_stream_events_applied_total", status.num_applied)
    yield Sample("springtide_stream_events_ignored_total", figures.num_ignored)
    yield Sample("springtide_stream_duplicates_total", status.num_duplicates)
    yield Sample("springtide_stream_changed_duplicates_total", status.num_changed_duplicates)
    for reason, count in sorted(status.num_dead_letters.items()):
        yield Sample("springtide_stream_dead_letters_total", count, (reason,))
    yield Sample("springtide_stream_dead_letters_not_written_total", status.num_dead_letters_not_written)
    yield Sample("springtide_stream_gaps", len(status.stream_gaps))
    if status.stream_gaps:
        yield Sample("springtide_stream_latest_gap_timestamp_seconds", _s(status.stream_gaps[-1].found_time))
    if status.HasField("newest_event_time"):
        yield Sample("springtide_stream_newest_event_timestamp_seconds", _s(status.newest_event_time))


def _of_graph(status: pb.GetStatusResponse) -> Iterator[Sample]:
    for node_type, count in sorted(status.num_nodes.items()):
        yield Sample("springtide_graph_nodes", count, (node_type,))
    for edge_type, count in sorted(status.num_edges.items()):
        yield Sample("springtide_graph_edges", count, (edge_type,))
    if status.max_edges:
        yield Sample("springtide_graph_max_edges", status.max_edges)
    yield Sample("springtide_graph_bytes", status.graph_bytes)
    if status.memory_limit_bytes:
        yield Sample("springtide_memory_limit_bytes", status.memory_limit_bytes)
    yield Sample("springtide_rebuild_reasons", len(status.rebuild_reasons))


def _of_ranking(figures: ServerFigures) -> Iterator[Sample]:
    for personalization, count in figures.num_answers.items():
        yield Sample("springtide_ranking_answers_total", count, (personalization,))
    for way, count in figures.num_queries.items():
        yield Sample("springtide_ranking_queries_total", count, (way,))
    for way, count in figures.num_batches.items():
        yield Sample("springtide_ranking_batches_total", count, (way,))
    yield Sample("springtide_ranking_waiting_queries", figures.num_waiting)


def _of_index(index: pb.IndexStatus) -> Iterator[Sample]:
    yield Sample("springtide_index_used", index.state == "used")
    yield Sample("springtide_index_items", index.num_items)
    yield Sample("springtide_index_bytes", index.num_bytes)
    if index.num_users:
        yield Sample("springtide_index_recall_ratio", index.recall_at_20)
    for found, count in (("index", index.num_by_index), ("proven", index.num_proven), ("exact", index.num_exact)):
        yield Sample("springtide_index_answers_total", count, (found,))
    yield Sample("springtide_index_failures_total", index.num_failed)


def _of_learning(status: pb.GetStatusResponse, figures: ServerFigures) -> Iterator[Sample]:
    yield Sample("springtide_model_info", 1, (status.model_version,))
    if figures.model_created_ms is not None:
        yield Sample("springtide_model_created_timestamp_seconds", figures.model_created_ms / 1_000)
    yield Sample("springtide_model_bypassed", status.HasField("bypassed_model"))
    stage = status.training.stage if status.HasField("training") else ""
    yield Sample("springtide_training_running", stage not in ("", "done", "failed", "unreadable"))
    yield Sample("springtide_training_failed", stage == "failed")
    if figures.last_training_s is not None:
        yield Sample("springtide_training_last_seconds", figures.last_training_s)
    if status.training.HasField("update_time"):
        yield Sample("springtide_training_updated_timestamp_seconds", _s(status.training.update_time))


def _of_quality(status: pb.GetStatusResponse) -> Iterator[Sample]:
    quality = status.live_quality
    for questions, means in (("all", quality.recent.all), ("new", quality.recent.new_to_user)):
        yield Sample("springtide_quality_questions", means.num_questions, (questions,))
        if means.num_questions:
            yield Sample("springtide_quality_ndcg_ratio", means.ndcg_at_20, (questions,))
            yield Sample("springtide_quality_hit_ratio", means.hit_rate_at_20, (questions,))
            yield Sample("springtide_quality_mrr_ratio", means.mrr, (questions,))
    has_dropped = quality.HasField("drop") and quality.drop.model_version == status.model_version
    yield Sample("springtide_quality_dropped", has_dropped)


def _of_keeping(status: pb.GetStatusResponse, figures: ServerFigures) -> Iterator[Sample]:
    if status.HasField("checkpoint_time"):
        yield Sample("springtide_checkpoint_created_timestamp_seconds", _s(status.checkpoint_time))
    if figures.checkpoint_write_s is not None:
        yield Sample("springtide_checkpoint_write_seconds", figures.checkpoint_write_s)
    yield Sample("springtide_checkpoints_written_total", figures.num_checkpoints)
    yield Sample("springtide_checkpoint_failures_total", figures.num_checkpoint_failures)
    yield Sample("springtide_checkpoints_damaged_total", len(status.damaged_checkpoints))
    yield Sample("springtide_writer", status.role == "writer")


def _of_steering(status: pb.GetStatusResponse) -> Iterator[Sample]:
    steering = status.steering
    yield Sample("springtide_steering_version", steering.version)
    yield Sample("springtide_steering_faulty", bool(steering.fault))
    yield Sample("springtide_steering_rules", steering.num_rules)
    yield Sample("springtide_steering_scenarios", steering.num_scenarios)
    yield Sample("springtide_experiments", steering.num_experiments)
    yield Sample("springtide_experiment_versions_missing", len(status.variant_faults))
    yield Sample("springtide_experiment_events_uncounted_total", status.num_untallied)


def _s(timestamp: Timestamp) -> float:
    return timestamp.ToMilliseconds() / 1_000
