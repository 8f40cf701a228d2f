"""All metrics: their names, kinds, labels and meanings. The page of the reference is made of this."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram", "info"]


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric.

    Attributes:
        name: Its name as Prometheus stores it, with the unit, and ``_total`` if it is a counter.
        kind: What it is.
        meaning: What it says, in one line.
        labels: Names of its labels. None of them names a user, an item or anything else without a bound.

    Raises:
        ValueError: If the name does not fit the kind.
    """

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.kind == "counter") != self.name.endswith("_total"):
            raise ValueError(f"{self.name}: wanted _total at the end of the names of counters, and of no others")
        if (self.kind == "info") != self.name.endswith("_info"):
            raise ValueError(f"{self.name}: wanted _info at the end of the names of infos, and of no others")


_GRPC = ("grpc_type", "grpc_service", "grpc_method")

CALLS = (
    MetricSpec("grpc_server_started_total", "counter", "Calls that have come, refused ones included.", _GRPC),
    MetricSpec(
        "grpc_server_handled_total",
        "counter",
        "Calls that have ended, by their status, refused ones included.",
        (*_GRPC, "grpc_code"),
    ),
    MetricSpec(
        "grpc_server_handling_seconds",
        "histogram",
        "Time from the decoded request to the last answer. What a token or the engine refuses before has none.",
        _GRPC,
    ),
    MetricSpec("springtide_open_calls", "gauge", "Calls that are open now, of all methods."),
)
STREAM = (
    MetricSpec("springtide_stream_up", "gauge", "1 while the stream is read and its lag is small enough, else 0."),
    MetricSpec(
        "springtide_stream_state",
        "gauge",
        "1 for what the stream does, 0 for the other states: reading, catching_up, behind, silent, waiting, ended.",
        ("state",),
    ),
    MetricSpec(
        "springtide_stream_problem", "gauge", "1 for the kind of problem for which the stream waits.", ("kind",)
    ),
    MetricSpec(
        "springtide_stream_lag_events", "gauge", "Events in the topic that are not in the graph; none if unknown."
    ),
    MetricSpec(
        "springtide_stream_lag_age_seconds", "gauge", "Since when the slowest broker has not said how far it is."
    ),
    MetricSpec("springtide_stream_silent_partitions", "gauge", "Partitions whose broker has not answered for 3 s."),
    MetricSpec("springtide_stream_events_applied_total", "counter", "Events applied to the graph."),
    MetricSpec(
        "springtide_stream_events_ignored_total", "counter", "Valid interactions that no interaction type names."
    ),
    MetricSpec(
        "springtide_stream_duplicates_total", "counter", "Events ignored, since the same event had come before."
    ),
    MetricSpec(
        "springtide_stream_changed_duplicates_total", "counter", "Of these, events that were not what had come before."
    ),
    MetricSpec("springtide_stream_dead_letters_total", "counter", "Events refused, by the reason.", ("reason",)),
    MetricSpec(
        "springtide_stream_dead_letters_not_written_total", "counter", "Of these, events that the topic did not take."
    ),
    MetricSpec("springtide_stream_gaps", "gauge", "Gaps in the stream that the status lists, the latest ones."),
    MetricSpec("springtide_stream_latest_gap_timestamp_seconds", "gauge", "When the latest gap was found."),
    MetricSpec("springtide_stream_newest_event_timestamp_seconds", "gauge", "The newest event time in the graph."),
)
GRAPH = (
    MetricSpec("springtide_graph_nodes", "gauge", "Nodes of each type.", ("type",)),
    MetricSpec("springtide_graph_edges", "gauge", "Edges of each type.", ("type",)),
    MetricSpec(
        "springtide_graph_max_edges", "gauge", "Most edges that are kept (`graph.max_edges`); none without a bound."
    ),
    MetricSpec("springtide_graph_bytes", "gauge", "Memory of the graph's columns."),
    MetricSpec(
        "springtide_memory_limit_bytes", "gauge", "Memory that the process may take: its control group's limit."
    ),
    MetricSpec("springtide_rebuild_reasons", "gauge", "Changes of settings that only `springtide rebuild` makes good."),
)
RANKING = (
    MetricSpec(
        "springtide_ranking_answers_total",
        "counter",
        "Rankings by what they know of the user: learned, folded_in, context_only, fallback.",
        ("personalization",),
    ),
    MetricSpec(
        "springtide_ranking_queries_total",
        "counter",
        "Queries ranked, by where: at_once in the event loop, in a short batch of the loop, or by the worker.",
        ("way",),
    ),
    MetricSpec("springtide_ranking_batches_total", "counter", "Batches that these were ranked in.", ("way",)),
    MetricSpec("springtide_ranking_waiting_queries", "gauge", "Queries that wait for a batch now."),
    MetricSpec("springtide_index_used", "gauge", "1 if the index finds items, 0 if all items are looked at instead."),
    MetricSpec("springtide_index_items", "gauge", "Items in the index."),
    MetricSpec("springtide_index_bytes", "gauge", "Memory of the index."),
    MetricSpec(
        "springtide_index_recall_ratio", "gauge", "Share of the 20 best items that the index found when measured."
    ),
    MetricSpec(
        "springtide_index_answers_total",
        "counter",
        "Answers since the index is used, by how they were found: index, proven (exact without it), exact.",
        ("found",),
    ),
    MetricSpec("springtide_index_failures_total", "counter", "Searches of the index that failed."),
)
LEARNING = (
    MetricSpec("springtide_model_info", "info", "The version that ranks; empty for the fallback.", ("version",)),
    MetricSpec("springtide_model_created_timestamp_seconds", "gauge", "When the version that ranks was published."),
    MetricSpec(
        "springtide_model_bypassed", "gauge", "1 if the current version cannot be loaded, and another one ranks."
    ),
    MetricSpec("springtide_training_running", "gauge", "1 while a training runs."),
    MetricSpec("springtide_training_failed", "gauge", "1 if the last training failed."),
    MetricSpec("springtide_training_last_seconds", "gauge", "How long the last training took that is over."),
    MetricSpec("springtide_training_updated_timestamp_seconds", "gauge", "When the trainer last told of its progress."),
    MetricSpec(
        "springtide_quality_ndcg_ratio",
        "gauge",
        "NDCG@20 over the last events, ranked before they were applied: all, or those with an item new to the user.",
        ("questions",),
    ),
    MetricSpec(
        "springtide_quality_hit_ratio", "gauge", "Share of these items that were among the best 20.", ("questions",)
    ),
    MetricSpec("springtide_quality_mrr_ratio", "gauge", "Mean of 1 / rank of these items.", ("questions",)),
    MetricSpec("springtide_quality_questions", "gauge", "How many events these means are over.", ("questions",)),
    MetricSpec("springtide_quality_dropped", "gauge", "1 if the version that ranks does so worse than at first."),
)
KEEPING = (
    MetricSpec("springtide_checkpoint_created_timestamp_seconds", "gauge", "When the newest checkpoint was written."),
    MetricSpec("springtide_checkpoint_write_seconds", "gauge", "How long the last checkpoint took to write."),
    MetricSpec("springtide_checkpoints_written_total", "counter", "Checkpoints written."),
    MetricSpec("springtide_checkpoint_failures_total", "counter", "Checkpoints that could not be written."),
    MetricSpec("springtide_checkpoints_damaged_total", "counter", "Checkpoints that were found damaged."),
    MetricSpec(
        "springtide_writer", "gauge", "1 if this server writes the checkpoints, 0 beside another one that does."
    ),
)
STEERING = (
    MetricSpec("springtide_steering_version", "gauge", "Version of the rules, scenarios and experiments that hold."),
    MetricSpec("springtide_steering_faulty", "gauge", "1 if the newest version is not what this server answers by."),
    MetricSpec("springtide_steering_rules", "gauge", "Rules, those that do not hold now among them."),
    MetricSpec("springtide_steering_scenarios", "gauge", "Scenarios."),
    MetricSpec("springtide_experiments", "gauge", "Experiments, those that do not run now among them."),
    MetricSpec(
        "springtide_experiment_versions_missing", "gauge", "Versions that experiments need and that are not loaded."
    ),
    MetricSpec(
        "springtide_experiment_events_uncounted_total", "counter", "Events for which there was no room to count them."
    ),
)
PLUGINS = (
    MetricSpec(
        "springtide_plugin_failures_total", "counter", "Failures of a plugin's part, by hook.", ("part", "hook")
    ),
    MetricSpec("springtide_plugin_blocked", "gauge", "1 for a part that does not return.", ("part", "hook")),
    MetricSpec("springtide_plugin_bypassed_total", "counter", "Calls that were done without a part.", ("part",)),
)
SERVER = (
    MetricSpec("springtide_info", "info", "The version of Springtide.", ("version",)),
    MetricSpec("springtide_ready", "gauge", "1 once the server has caught up and answers."),
    *CALLS,
    *STREAM,
    *GRAPH,
    *RANKING,
    *LEARNING,
    *KEEPING,
    *STEERING,
    *PLUGINS,
)
"""What a server gives."""

TRAINER = (
    MetricSpec(
        "springtide_trainer_trainings_total",
        "counter",
        "Trainings that are over, by how they ended: published, refused (nothing to learn), failed.",
        ("mode", "outcome"),
    ),
    MetricSpec("springtide_trainer_training_seconds_total", "counter", "Time that these took.", ("mode", "outcome")),
    MetricSpec("springtide_trainer_running", "gauge", "1 while a training runs."),
    MetricSpec("springtide_trainer_begun_timestamp_seconds", "gauge", "When that training began."),
    MetricSpec("springtide_trainer_published_timestamp_seconds", "gauge", "When the last version was published."),
    MetricSpec(
        "springtide_trainer_failures_in_a_row", "gauge", "Trainings that have failed since the last one that did not."
    ),
    MetricSpec("springtide_trainer_looked_timestamp_seconds", "gauge", "When the trainer last looked for work."),
)
"""What a trainer gives."""

PROCESS = (
    MetricSpec("process_cpu_seconds_total", "counter", "CPU time."),
    MetricSpec("process_resident_memory_bytes", "gauge", "Resident memory."),
    MetricSpec("process_virtual_memory_bytes", "gauge", "Virtual memory."),
    MetricSpec("process_start_time_seconds", "gauge", "When the process was started, since the Unix epoch."),
    MetricSpec("process_open_fds", "gauge", "Open file descriptors."),
    MetricSpec("process_max_fds", "gauge", "Most file descriptors that may be open."),
)
"""What each process gives, by the client library; on Linux."""
