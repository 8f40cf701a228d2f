import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from springtide.v1 import recommender_pb2 as _recommender_pb2
from springtide.v1 import steering_pb2 as _steering_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TrainingMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRAINING_MODE_UNSPECIFIED: _ClassVar[TrainingMode]
    TRAINING_MODE_RETRAIN: _ClassVar[TrainingMode]
    TRAINING_MODE_FINE_TUNE: _ClassVar[TrainingMode]
    TRAINING_MODE_REFIT: _ClassVar[TrainingMode]
TRAINING_MODE_UNSPECIFIED: TrainingMode
TRAINING_MODE_RETRAIN: TrainingMode
TRAINING_MODE_FINE_TUNE: TrainingMode
TRAINING_MODE_REFIT: TrainingMode

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("model_version", "position", "lag_events", "num_nodes", "num_edges", "num_dead_letters", "newest_event_time", "checkpoint_time", "graph_bytes", "is_broker_connected", "training", "live_quality", "lag_age_s", "silent_partitions", "stream_problem", "stream_gaps", "num_dead_letters_not_written", "num_duplicates", "num_changed_duplicates", "rebuild_reasons", "rebuild", "as_of_ms", "as_of_source", "parts_with_torch", "index", "damaged_checkpoints", "bypassed_model", "stream_health", "plugins", "packages_not_allowed", "failing_parts", "num_bypassed", "role", "writer", "fencing_number", "steering", "variant_versions", "variant_faults", "num_untallied", "start_time", "num_applied", "resident_bytes", "memory_limit_bytes", "calls", "num_open_calls", "max_edges")
    class NumNodesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class NumEdgesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class NumDeadLettersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class NumBypassedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class VariantFaultsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    LAG_EVENTS_FIELD_NUMBER: _ClassVar[int]
    NUM_NODES_FIELD_NUMBER: _ClassVar[int]
    NUM_EDGES_FIELD_NUMBER: _ClassVar[int]
    NUM_DEAD_LETTERS_FIELD_NUMBER: _ClassVar[int]
    NEWEST_EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_TIME_FIELD_NUMBER: _ClassVar[int]
    GRAPH_BYTES_FIELD_NUMBER: _ClassVar[int]
    IS_BROKER_CONNECTED_FIELD_NUMBER: _ClassVar[int]
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    LIVE_QUALITY_FIELD_NUMBER: _ClassVar[int]
    LAG_AGE_S_FIELD_NUMBER: _ClassVar[int]
    SILENT_PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    STREAM_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    STREAM_GAPS_FIELD_NUMBER: _ClassVar[int]
    NUM_DEAD_LETTERS_NOT_WRITTEN_FIELD_NUMBER: _ClassVar[int]
    NUM_DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    NUM_CHANGED_DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    REBUILD_REASONS_FIELD_NUMBER: _ClassVar[int]
    REBUILD_FIELD_NUMBER: _ClassVar[int]
    AS_OF_MS_FIELD_NUMBER: _ClassVar[int]
    AS_OF_SOURCE_FIELD_NUMBER: _ClassVar[int]
    PARTS_WITH_TORCH_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    BYPASSED_MODEL_FIELD_NUMBER: _ClassVar[int]
    STREAM_HEALTH_FIELD_NUMBER: _ClassVar[int]
    PLUGINS_FIELD_NUMBER: _ClassVar[int]
    PACKAGES_NOT_ALLOWED_FIELD_NUMBER: _ClassVar[int]
    FAILING_PARTS_FIELD_NUMBER: _ClassVar[int]
    NUM_BYPASSED_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    WRITER_FIELD_NUMBER: _ClassVar[int]
    FENCING_NUMBER_FIELD_NUMBER: _ClassVar[int]
    STEERING_FIELD_NUMBER: _ClassVar[int]
    VARIANT_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    VARIANT_FAULTS_FIELD_NUMBER: _ClassVar[int]
    NUM_UNTALLIED_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    NUM_APPLIED_FIELD_NUMBER: _ClassVar[int]
    RESIDENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    NUM_OPEN_CALLS_FIELD_NUMBER: _ClassVar[int]
    MAX_EDGES_FIELD_NUMBER: _ClassVar[int]
    model_version: str
    position: _recommender_pb2.GraphPosition
    lag_events: int
    num_nodes: _containers.ScalarMap[str, int]
    num_edges: _containers.ScalarMap[str, int]
    num_dead_letters: _containers.ScalarMap[str, int]
    newest_event_time: _timestamp_pb2.Timestamp
    checkpoint_time: _timestamp_pb2.Timestamp
    graph_bytes: int
    is_broker_connected: bool
    training: TrainingStatus
    live_quality: LiveQuality
    lag_age_s: float
    silent_partitions: _containers.RepeatedScalarFieldContainer[int]
    stream_problem: StreamProblem
    stream_gaps: _containers.RepeatedCompositeFieldContainer[StreamGap]
    num_dead_letters_not_written: int
    num_duplicates: int
    num_changed_duplicates: int
    rebuild_reasons: _containers.RepeatedScalarFieldContainer[str]
    rebuild: RebuildStatus
    as_of_ms: int
    as_of_source: _recommender_pb2.MomentSource
    parts_with_torch: _containers.RepeatedScalarFieldContainer[str]
    index: IndexStatus
    damaged_checkpoints: _containers.RepeatedCompositeFieldContainer[DamagedCheckpoint]
    bypassed_model: BypassedModel
    stream_health: str
    plugins: _containers.RepeatedCompositeFieldContainer[Plugin]
    packages_not_allowed: _containers.RepeatedCompositeFieldContainer[PackageNotAllowed]
    failing_parts: _containers.RepeatedCompositeFieldContainer[FailingPart]
    num_bypassed: _containers.ScalarMap[str, int]
    role: str
    writer: str
    fencing_number: int
    steering: SteeringStatus
    variant_versions: _containers.RepeatedScalarFieldContainer[str]
    variant_faults: _containers.ScalarMap[str, str]
    num_untallied: int
    start_time: _timestamp_pb2.Timestamp
    num_applied: int
    resident_bytes: int
    memory_limit_bytes: int
    calls: _containers.RepeatedCompositeFieldContainer[MethodCalls]
    num_open_calls: int
    max_edges: int
    def __init__(self, model_version: _Optional[str] = ..., position: _Optional[_Union[_recommender_pb2.GraphPosition, _Mapping]] = ..., lag_events: _Optional[int] = ..., num_nodes: _Optional[_Mapping[str, int]] = ..., num_edges: _Optional[_Mapping[str, int]] = ..., num_dead_letters: _Optional[_Mapping[str, int]] = ..., newest_event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., checkpoint_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., graph_bytes: _Optional[int] = ..., is_broker_connected: _Optional[bool] = ..., training: _Optional[_Union[TrainingStatus, _Mapping]] = ..., live_quality: _Optional[_Union[LiveQuality, _Mapping]] = ..., lag_age_s: _Optional[float] = ..., silent_partitions: _Optional[_Iterable[int]] = ..., stream_problem: _Optional[_Union[StreamProblem, _Mapping]] = ..., stream_gaps: _Optional[_Iterable[_Union[StreamGap, _Mapping]]] = ..., num_dead_letters_not_written: _Optional[int] = ..., num_duplicates: _Optional[int] = ..., num_changed_duplicates: _Optional[int] = ..., rebuild_reasons: _Optional[_Iterable[str]] = ..., rebuild: _Optional[_Union[RebuildStatus, _Mapping]] = ..., as_of_ms: _Optional[int] = ..., as_of_source: _Optional[_Union[_recommender_pb2.MomentSource, str]] = ..., parts_with_torch: _Optional[_Iterable[str]] = ..., index: _Optional[_Union[IndexStatus, _Mapping]] = ..., damaged_checkpoints: _Optional[_Iterable[_Union[DamagedCheckpoint, _Mapping]]] = ..., bypassed_model: _Optional[_Union[BypassedModel, _Mapping]] = ..., stream_health: _Optional[str] = ..., plugins: _Optional[_Iterable[_Union[Plugin, _Mapping]]] = ..., packages_not_allowed: _Optional[_Iterable[_Union[PackageNotAllowed, _Mapping]]] = ..., failing_parts: _Optional[_Iterable[_Union[FailingPart, _Mapping]]] = ..., num_bypassed: _Optional[_Mapping[str, int]] = ..., role: _Optional[str] = ..., writer: _Optional[str] = ..., fencing_number: _Optional[int] = ..., steering: _Optional[_Union[SteeringStatus, _Mapping]] = ..., variant_versions: _Optional[_Iterable[str]] = ..., variant_faults: _Optional[_Mapping[str, str]] = ..., num_untallied: _Optional[int] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., num_applied: _Optional[int] = ..., resident_bytes: _Optional[int] = ..., memory_limit_bytes: _Optional[int] = ..., calls: _Optional[_Iterable[_Union[MethodCalls, _Mapping]]] = ..., num_open_calls: _Optional[int] = ..., max_edges: _Optional[int] = ...) -> None: ...

class MethodCalls(_message.Message):
    __slots__ = ("method", "num_ended", "num_last_minute", "p50_ms", "p95_ms", "p99_ms")
    class NumEndedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    METHOD_FIELD_NUMBER: _ClassVar[int]
    NUM_ENDED_FIELD_NUMBER: _ClassVar[int]
    NUM_LAST_MINUTE_FIELD_NUMBER: _ClassVar[int]
    P50_MS_FIELD_NUMBER: _ClassVar[int]
    P95_MS_FIELD_NUMBER: _ClassVar[int]
    P99_MS_FIELD_NUMBER: _ClassVar[int]
    method: str
    num_ended: _containers.ScalarMap[str, int]
    num_last_minute: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    def __init__(self, method: _Optional[str] = ..., num_ended: _Optional[_Mapping[str, int]] = ..., num_last_minute: _Optional[int] = ..., p50_ms: _Optional[float] = ..., p95_ms: _Optional[float] = ..., p99_ms: _Optional[float] = ...) -> None: ...

class SteeringStatus(_message.Message):
    __slots__ = ("version", "num_rules", "num_scenarios", "num_experiments", "fault", "is_from_file")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    NUM_RULES_FIELD_NUMBER: _ClassVar[int]
    NUM_SCENARIOS_FIELD_NUMBER: _ClassVar[int]
    NUM_EXPERIMENTS_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    IS_FROM_FILE_FIELD_NUMBER: _ClassVar[int]
    version: int
    num_rules: int
    num_scenarios: int
    num_experiments: int
    fault: str
    is_from_file: bool
    def __init__(self, version: _Optional[int] = ..., num_rules: _Optional[int] = ..., num_scenarios: _Optional[int] = ..., num_experiments: _Optional[int] = ..., fault: _Optional[str] = ..., is_from_file: _Optional[bool] = ...) -> None: ...

class FailingPart(_message.Message):
    __slots__ = ("part", "origin", "hook", "fault", "reason", "num_failed", "latest_time", "is_blocked")
    PART_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    HOOK_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    NUM_FAILED_FIELD_NUMBER: _ClassVar[int]
    LATEST_TIME_FIELD_NUMBER: _ClassVar[int]
    IS_BLOCKED_FIELD_NUMBER: _ClassVar[int]
    part: str
    origin: str
    hook: str
    fault: str
    reason: str
    num_failed: int
    latest_time: _timestamp_pb2.Timestamp
    is_blocked: bool
    def __init__(self, part: _Optional[str] = ..., origin: _Optional[str] = ..., hook: _Optional[str] = ..., fault: _Optional[str] = ..., reason: _Optional[str] = ..., num_failed: _Optional[int] = ..., latest_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., is_blocked: _Optional[bool] = ...) -> None: ...

class Plugin(_message.Message):
    __slots__ = ("name", "distribution", "version", "way")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DISTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WAY_FIELD_NUMBER: _ClassVar[int]
    name: str
    distribution: str
    version: str
    way: str
    def __init__(self, name: _Optional[str] = ..., distribution: _Optional[str] = ..., version: _Optional[str] = ..., way: _Optional[str] = ...) -> None: ...

class PackageNotAllowed(_message.Message):
    __slots__ = ("distribution", "version", "modules")
    DISTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MODULES_FIELD_NUMBER: _ClassVar[int]
    distribution: str
    version: str
    modules: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, distribution: _Optional[str] = ..., version: _Optional[str] = ..., modules: _Optional[_Iterable[str]] = ...) -> None: ...

class BypassedModel(_message.Message):
    __slots__ = ("version", "fault", "instead", "found_time")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    INSTEAD_FIELD_NUMBER: _ClassVar[int]
    FOUND_TIME_FIELD_NUMBER: _ClassVar[int]
    version: str
    fault: str
    instead: str
    found_time: _timestamp_pb2.Timestamp
    def __init__(self, version: _Optional[str] = ..., fault: _Optional[str] = ..., instead: _Optional[str] = ..., found_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class DamagedCheckpoint(_message.Message):
    __slots__ = ("name", "fault", "instead", "found_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    INSTEAD_FIELD_NUMBER: _ClassVar[int]
    FOUND_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    fault: str
    instead: str
    found_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., fault: _Optional[str] = ..., instead: _Optional[str] = ..., found_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class IndexStatus(_message.Message):
    __slots__ = ("name", "state", "model_version", "failure", "num_items", "num_bytes", "build_s", "recall_at_20", "num_users", "index_ms", "exact_ms", "num_changed", "num_proven", "num_by_index", "num_exact", "num_failed")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    NUM_ITEMS_FIELD_NUMBER: _ClassVar[int]
    NUM_BYTES_FIELD_NUMBER: _ClassVar[int]
    BUILD_S_FIELD_NUMBER: _ClassVar[int]
    RECALL_AT_20_FIELD_NUMBER: _ClassVar[int]
    NUM_USERS_FIELD_NUMBER: _ClassVar[int]
    INDEX_MS_FIELD_NUMBER: _ClassVar[int]
    EXACT_MS_FIELD_NUMBER: _ClassVar[int]
    NUM_CHANGED_FIELD_NUMBER: _ClassVar[int]
    NUM_PROVEN_FIELD_NUMBER: _ClassVar[int]
    NUM_BY_INDEX_FIELD_NUMBER: _ClassVar[int]
    NUM_EXACT_FIELD_NUMBER: _ClassVar[int]
    NUM_FAILED_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: str
    model_version: str
    failure: str
    num_items: int
    num_bytes: int
    build_s: float
    recall_at_20: float
    num_users: int
    index_ms: float
    exact_ms: float
    num_changed: int
    num_proven: int
    num_by_index: int
    num_exact: int
    num_failed: int
    def __init__(self, name: _Optional[str] = ..., state: _Optional[str] = ..., model_version: _Optional[str] = ..., failure: _Optional[str] = ..., num_items: _Optional[int] = ..., num_bytes: _Optional[int] = ..., build_s: _Optional[float] = ..., recall_at_20: _Optional[float] = ..., num_users: _Optional[int] = ..., index_ms: _Optional[float] = ..., exact_ms: _Optional[float] = ..., num_changed: _Optional[int] = ..., num_proven: _Optional[int] = ..., num_by_index: _Optional[int] = ..., num_exact: _Optional[int] = ..., num_failed: _Optional[int] = ...) -> None: ...

class RebuildStatus(_message.Message):
    __slots__ = ("rebuilt", "stage", "checkpoint", "failure", "update_time")
    REBUILT_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    rebuilt: str
    stage: str
    checkpoint: str
    failure: str
    update_time: _timestamp_pb2.Timestamp
    def __init__(self, rebuilt: _Optional[str] = ..., stage: _Optional[str] = ..., checkpoint: _Optional[str] = ..., failure: _Optional[str] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class StreamProblem(_message.Message):
    __slots__ = ("kind", "message", "since", "is_final")
    KIND_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    IS_FINAL_FIELD_NUMBER: _ClassVar[int]
    kind: str
    message: str
    since: _timestamp_pb2.Timestamp
    is_final: bool
    def __init__(self, kind: _Optional[str] = ..., message: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., is_final: _Optional[bool] = ...) -> None: ...

class StreamGap(_message.Message):
    __slots__ = ("topic", "partition", "from_offset", "to_offset", "reason", "found_time", "read_until_time")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    FROM_OFFSET_FIELD_NUMBER: _ClassVar[int]
    TO_OFFSET_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FOUND_TIME_FIELD_NUMBER: _ClassVar[int]
    READ_UNTIL_TIME_FIELD_NUMBER: _ClassVar[int]
    topic: str
    partition: int
    from_offset: int
    to_offset: int
    reason: str
    found_time: _timestamp_pb2.Timestamp
    read_until_time: _timestamp_pb2.Timestamp
    def __init__(self, topic: _Optional[str] = ..., partition: _Optional[int] = ..., from_offset: _Optional[int] = ..., to_offset: _Optional[int] = ..., reason: _Optional[str] = ..., found_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., read_until_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class LiveQuality(_message.Message):
    __slots__ = ("recent", "versions", "drop")
    RECENT_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    DROP_FIELD_NUMBER: _ClassVar[int]
    recent: WindowQuality
    versions: _containers.RepeatedCompositeFieldContainer[WindowQuality]
    drop: QualityDrop
    def __init__(self, recent: _Optional[_Union[WindowQuality, _Mapping]] = ..., versions: _Optional[_Iterable[_Union[WindowQuality, _Mapping]]] = ..., drop: _Optional[_Union[QualityDrop, _Mapping]] = ...) -> None: ...

class WindowQuality(_message.Message):
    __slots__ = ("model_version", "all", "new_to_user")
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    NEW_TO_USER_FIELD_NUMBER: _ClassVar[int]
    model_version: str
    all: RankingQuality
    new_to_user: RankingQuality
    def __init__(self, model_version: _Optional[str] = ..., all: _Optional[_Union[RankingQuality, _Mapping]] = ..., new_to_user: _Optional[_Union[RankingQuality, _Mapping]] = ...) -> None: ...

class RankingQuality(_message.Message):
    __slots__ = ("num_questions", "ndcg_at_20", "hit_rate_at_20", "mrr")
    NUM_QUESTIONS_FIELD_NUMBER: _ClassVar[int]
    NDCG_AT_20_FIELD_NUMBER: _ClassVar[int]
    HIT_RATE_AT_20_FIELD_NUMBER: _ClassVar[int]
    MRR_FIELD_NUMBER: _ClassVar[int]
    num_questions: int
    ndcg_at_20: float
    hit_rate_at_20: float
    mrr: float
    def __init__(self, num_questions: _Optional[int] = ..., ndcg_at_20: _Optional[float] = ..., hit_rate_at_20: _Optional[float] = ..., mrr: _Optional[float] = ...) -> None: ...

class QualityDrop(_message.Message):
    __slots__ = ("model_version", "first_ndcg_at_20", "ndcg_at_20", "request_id")
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    FIRST_NDCG_AT_20_FIELD_NUMBER: _ClassVar[int]
    NDCG_AT_20_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    model_version: str
    first_ndcg_at_20: float
    ndcg_at_20: float
    request_id: str
    def __init__(self, model_version: _Optional[str] = ..., first_ndcg_at_20: _Optional[float] = ..., ndcg_at_20: _Optional[float] = ..., request_id: _Optional[str] = ...) -> None: ...

class TrainingStatus(_message.Message):
    __slots__ = ("stage", "done", "total", "loss", "mode", "request_id", "model_version", "failure", "update_time")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    stage: str
    done: int
    total: int
    loss: float
    mode: TrainingMode
    request_id: str
    model_version: str
    failure: str
    update_time: _timestamp_pb2.Timestamp
    def __init__(self, stage: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., loss: _Optional[float] = ..., mode: _Optional[_Union[TrainingMode, str]] = ..., request_id: _Optional[str] = ..., model_version: _Optional[str] = ..., failure: _Optional[str] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models", "next_page_token")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    next_page_token: str
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("version", "create_time", "is_current", "training", "num_interactions", "metrics", "parts", "verdict", "verdict_reason", "gate_ndcg_at_20", "unreadable_reason", "gate_num_questions")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class PartsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class GateNdcgAt20Entry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class GateNumQuestionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    IS_CURRENT_FIELD_NUMBER: _ClassVar[int]
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    NUM_INTERACTIONS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    VERDICT_REASON_FIELD_NUMBER: _ClassVar[int]
    GATE_NDCG_AT_20_FIELD_NUMBER: _ClassVar[int]
    UNREADABLE_REASON_FIELD_NUMBER: _ClassVar[int]
    GATE_NUM_QUESTIONS_FIELD_NUMBER: _ClassVar[int]
    version: str
    create_time: _timestamp_pb2.Timestamp
    is_current: bool
    training: str
    num_interactions: int
    metrics: _containers.ScalarMap[str, float]
    parts: _containers.ScalarMap[str, str]
    verdict: str
    verdict_reason: str
    gate_ndcg_at_20: _containers.ScalarMap[str, float]
    unreadable_reason: str
    gate_num_questions: _containers.ScalarMap[str, int]
    def __init__(self, version: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., is_current: _Optional[bool] = ..., training: _Optional[str] = ..., num_interactions: _Optional[int] = ..., metrics: _Optional[_Mapping[str, float]] = ..., parts: _Optional[_Mapping[str, str]] = ..., verdict: _Optional[str] = ..., verdict_reason: _Optional[str] = ..., gate_ndcg_at_20: _Optional[_Mapping[str, float]] = ..., unreadable_reason: _Optional[str] = ..., gate_num_questions: _Optional[_Mapping[str, int]] = ...) -> None: ...

class StartTrainingRequest(_message.Message):
    __slots__ = ("mode",)
    MODE_FIELD_NUMBER: _ClassVar[int]
    mode: TrainingMode
    def __init__(self, mode: _Optional[_Union[TrainingMode, str]] = ...) -> None: ...

class StartTrainingResponse(_message.Message):
    __slots__ = ("request_id", "checkpoint")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    checkpoint: str
    def __init__(self, request_id: _Optional[str] = ..., checkpoint: _Optional[str] = ...) -> None: ...

class PromoteModelRequest(_message.Message):
    __slots__ = ("version", "reason")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    version: str
    reason: str
    def __init__(self, version: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class PromoteModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class ServeRebuildRequest(_message.Message):
    __slots__ = ("rebuilt",)
    REBUILT_FIELD_NUMBER: _ClassVar[int]
    rebuilt: str
    def __init__(self, rebuilt: _Optional[str] = ...) -> None: ...

class ServeRebuildResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RollbackModelRequest(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class RollbackModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class GetSteeringRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetSteeringResponse(_message.Message):
    __slots__ = ("steering", "version")
    STEERING_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    steering: _steering_pb2.Steering
    version: int
    def __init__(self, steering: _Optional[_Union[_steering_pb2.Steering, _Mapping]] = ..., version: _Optional[int] = ...) -> None: ...

class UpdateSteeringRequest(_message.Message):
    __slots__ = ("put", "remove_rules", "remove_scenarios", "remove_experiments", "replace", "dry_run", "samples", "version", "reason")
    PUT_FIELD_NUMBER: _ClassVar[int]
    REMOVE_RULES_FIELD_NUMBER: _ClassVar[int]
    REMOVE_SCENARIOS_FIELD_NUMBER: _ClassVar[int]
    REMOVE_EXPERIMENTS_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    put: _steering_pb2.Steering
    remove_rules: _containers.RepeatedScalarFieldContainer[str]
    remove_scenarios: _containers.RepeatedScalarFieldContainer[str]
    remove_experiments: _containers.RepeatedScalarFieldContainer[str]
    replace: bool
    dry_run: bool
    samples: _containers.RepeatedCompositeFieldContainer[_recommender_pb2.RecommendRequest]
    version: int
    reason: str
    def __init__(self, put: _Optional[_Union[_steering_pb2.Steering, _Mapping]] = ..., remove_rules: _Optional[_Iterable[str]] = ..., remove_scenarios: _Optional[_Iterable[str]] = ..., remove_experiments: _Optional[_Iterable[str]] = ..., replace: _Optional[bool] = ..., dry_run: _Optional[bool] = ..., samples: _Optional[_Iterable[_Union[_recommender_pb2.RecommendRequest, _Mapping]]] = ..., version: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class UpdateSteeringResponse(_message.Message):
    __slots__ = ("version", "changes", "samples", "warnings")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    version: int
    changes: _containers.RepeatedScalarFieldContainer[str]
    samples: _containers.RepeatedCompositeFieldContainer[SteeredSample]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, version: _Optional[int] = ..., changes: _Optional[_Iterable[str]] = ..., samples: _Optional[_Iterable[_Union[SteeredSample, _Mapping]]] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class SteeredSample(_message.Message):
    __slots__ = ("user", "before", "after", "scenario")
    USER_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    SCENARIO_FIELD_NUMBER: _ClassVar[int]
    user: str
    before: _containers.RepeatedScalarFieldContainer[str]
    after: _containers.RepeatedScalarFieldContainer[str]
    scenario: str
    def __init__(self, user: _Optional[str] = ..., before: _Optional[_Iterable[str]] = ..., after: _Optional[_Iterable[str]] = ..., scenario: _Optional[str] = ...) -> None: ...

class ListSteeringChangesRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListSteeringChangesResponse(_message.Message):
    __slots__ = ("changes", "next_page_token")
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[SteeringChange]
    next_page_token: str
    def __init__(self, changes: _Optional[_Iterable[_Union[SteeringChange, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class SteeringChange(_message.Message):
    __slots__ = ("version", "change_time", "actor", "reason", "changes")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CHANGE_TIME_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    version: int
    change_time: _timestamp_pb2.Timestamp
    actor: str
    reason: str
    changes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, version: _Optional[int] = ..., change_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., actor: _Optional[str] = ..., reason: _Optional[str] = ..., changes: _Optional[_Iterable[str]] = ...) -> None: ...

class GetExperimentRequest(_message.Message):
    __slots__ = ("name", "confidence")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    confidence: float
    def __init__(self, name: _Optional[str] = ..., confidence: _Optional[float] = ...) -> None: ...

class GetExperimentResponse(_message.Message):
    __slots__ = ("experiment", "variants", "winner")
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    VARIANTS_FIELD_NUMBER: _ClassVar[int]
    WINNER_FIELD_NUMBER: _ClassVar[int]
    experiment: _steering_pb2.Experiment
    variants: _containers.RepeatedCompositeFieldContainer[VariantResult]
    winner: str
    def __init__(self, experiment: _Optional[_Union[_steering_pb2.Experiment, _Mapping]] = ..., variants: _Optional[_Iterable[_Union[VariantResult, _Mapping]]] = ..., winner: _Optional[str] = ...) -> None: ...

class VariantResult(_message.Message):
    __slots__ = ("variant", "num_users", "num_converted", "num_impressions", "num_conversions", "rate", "rate_low", "rate_high", "difference", "difference_low", "difference_high", "p_value")
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    NUM_USERS_FIELD_NUMBER: _ClassVar[int]
    NUM_CONVERTED_FIELD_NUMBER: _ClassVar[int]
    NUM_IMPRESSIONS_FIELD_NUMBER: _ClassVar[int]
    NUM_CONVERSIONS_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    RATE_LOW_FIELD_NUMBER: _ClassVar[int]
    RATE_HIGH_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCE_LOW_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCE_HIGH_FIELD_NUMBER: _ClassVar[int]
    P_VALUE_FIELD_NUMBER: _ClassVar[int]
    variant: str
    num_users: int
    num_converted: int
    num_impressions: int
    num_conversions: int
    rate: float
    rate_low: float
    rate_high: float
    difference: float
    difference_low: float
    difference_high: float
    p_value: float
    def __init__(self, variant: _Optional[str] = ..., num_users: _Optional[int] = ..., num_converted: _Optional[int] = ..., num_impressions: _Optional[int] = ..., num_conversions: _Optional[int] = ..., rate: _Optional[float] = ..., rate_low: _Optional[float] = ..., rate_high: _Optional[float] = ..., difference: _Optional[float] = ..., difference_low: _Optional[float] = ..., difference_high: _Optional[float] = ..., p_value: _Optional[float] = ...) -> None: ...
