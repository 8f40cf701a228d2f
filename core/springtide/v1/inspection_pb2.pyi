import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from springtide.v1 import admin_pb2 as _admin_pb2
from springtide.v1 import recommender_pb2 as _recommender_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListAttributesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListAttributesResponse(_message.Message):
    __slots__ = ("attributes", "circumstances", "item_type", "name_attribute")
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    CIRCUMSTANCES_FIELD_NUMBER: _ClassVar[int]
    ITEM_TYPE_FIELD_NUMBER: _ClassVar[int]
    NAME_ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    attributes: _containers.RepeatedCompositeFieldContainer[Attribute]
    circumstances: _containers.RepeatedCompositeFieldContainer[Attribute]
    item_type: str
    name_attribute: str
    def __init__(self, attributes: _Optional[_Iterable[_Union[Attribute, _Mapping]]] = ..., circumstances: _Optional[_Iterable[_Union[Attribute, _Mapping]]] = ..., item_type: _Optional[str] = ..., name_attribute: _Optional[str] = ...) -> None: ...

class Attribute(_message.Message):
    __slots__ = ("node_type", "name", "kind", "num_nodes", "values")
    NODE_TYPE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NUM_NODES_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    node_type: str
    name: str
    kind: str
    num_nodes: int
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, node_type: _Optional[str] = ..., name: _Optional[str] = ..., kind: _Optional[str] = ..., num_nodes: _Optional[int] = ..., values: _Optional[_Iterable[str]] = ...) -> None: ...

class SearchNodesRequest(_message.Message):
    __slots__ = ("type", "text", "page_size")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    type: str
    text: str
    page_size: int
    def __init__(self, type: _Optional[str] = ..., text: _Optional[str] = ..., page_size: _Optional[int] = ...) -> None: ...

class SearchNodesResponse(_message.Message):
    __slots__ = ("nodes", "has_more")
    NODES_FIELD_NUMBER: _ClassVar[int]
    HAS_MORE_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[NodeSummary]
    has_more: bool
    def __init__(self, nodes: _Optional[_Iterable[_Union[NodeSummary, _Mapping]]] = ..., has_more: _Optional[bool] = ...) -> None: ...

class NodeSummary(_message.Message):
    __slots__ = ("type", "id", "name", "num_interactions", "latest_time")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    NUM_INTERACTIONS_FIELD_NUMBER: _ClassVar[int]
    LATEST_TIME_FIELD_NUMBER: _ClassVar[int]
    type: str
    id: str
    name: str
    num_interactions: int
    latest_time: _timestamp_pb2.Timestamp
    def __init__(self, type: _Optional[str] = ..., id: _Optional[str] = ..., name: _Optional[str] = ..., num_interactions: _Optional[int] = ..., latest_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetNodeRequest(_message.Message):
    __slots__ = ("type", "id", "max_interactions")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    MAX_INTERACTIONS_FIELD_NUMBER: _ClassVar[int]
    type: str
    id: str
    max_interactions: int
    def __init__(self, type: _Optional[str] = ..., id: _Optional[str] = ..., max_interactions: _Optional[int] = ...) -> None: ...

class GetNodeResponse(_message.Message):
    __slots__ = ("node", "attributes", "interactions", "counts", "days_per_count", "num_edges", "first_time", "num_counted")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _recommender_pb2.AttributeValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_recommender_pb2.AttributeValue, _Mapping]] = ...) -> None: ...
    class NumEdgesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NODE_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    INTERACTIONS_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    DAYS_PER_COUNT_FIELD_NUMBER: _ClassVar[int]
    NUM_EDGES_FIELD_NUMBER: _ClassVar[int]
    FIRST_TIME_FIELD_NUMBER: _ClassVar[int]
    NUM_COUNTED_FIELD_NUMBER: _ClassVar[int]
    node: NodeSummary
    attributes: _containers.MessageMap[str, _recommender_pb2.AttributeValue]
    interactions: _containers.RepeatedCompositeFieldContainer[NodeInteraction]
    counts: _containers.RepeatedCompositeFieldContainer[CountInTime]
    days_per_count: int
    num_edges: _containers.ScalarMap[str, int]
    first_time: _timestamp_pb2.Timestamp
    num_counted: int
    def __init__(self, node: _Optional[_Union[NodeSummary, _Mapping]] = ..., attributes: _Optional[_Mapping[str, _recommender_pb2.AttributeValue]] = ..., interactions: _Optional[_Iterable[_Union[NodeInteraction, _Mapping]]] = ..., counts: _Optional[_Iterable[_Union[CountInTime, _Mapping]]] = ..., days_per_count: _Optional[int] = ..., num_edges: _Optional[_Mapping[str, int]] = ..., first_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., num_counted: _Optional[int] = ...) -> None: ...

class NodeInteraction(_message.Message):
    __slots__ = ("other", "type", "event_time", "weight", "context")
    class ContextEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    OTHER_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    other: NodeSummary
    type: str
    event_time: _timestamp_pb2.Timestamp
    weight: float
    context: _containers.ScalarMap[str, str]
    def __init__(self, other: _Optional[_Union[NodeSummary, _Mapping]] = ..., type: _Optional[str] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., weight: _Optional[float] = ..., context: _Optional[_Mapping[str, str]] = ...) -> None: ...

class CountInTime(_message.Message):
    __slots__ = ("start_time", "count")
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    start_time: _timestamp_pb2.Timestamp
    count: int
    def __init__(self, start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., count: _Optional[int] = ...) -> None: ...

class GetNeighbourhoodRequest(_message.Message):
    __slots__ = ("type", "id", "max_edges", "depth")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    MAX_EDGES_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    type: str
    id: str
    max_edges: int
    depth: int
    def __init__(self, type: _Optional[str] = ..., id: _Optional[str] = ..., max_edges: _Optional[int] = ..., depth: _Optional[int] = ...) -> None: ...

class GetNeighbourhoodResponse(_message.Message):
    __slots__ = ("nodes", "edges", "is_cut")
    NODES_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    IS_CUT_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[NeighbourNode]
    edges: _containers.RepeatedCompositeFieldContainer[NeighbourEdge]
    is_cut: bool
    def __init__(self, nodes: _Optional[_Iterable[_Union[NeighbourNode, _Mapping]]] = ..., edges: _Optional[_Iterable[_Union[NeighbourEdge, _Mapping]]] = ..., is_cut: _Optional[bool] = ...) -> None: ...

class NeighbourNode(_message.Message):
    __slots__ = ("node", "depth")
    NODE_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    node: NodeSummary
    depth: int
    def __init__(self, node: _Optional[_Union[NodeSummary, _Mapping]] = ..., depth: _Optional[int] = ...) -> None: ...

class NeighbourEdge(_message.Message):
    __slots__ = ("source", "target", "relation", "count", "latest_time")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    LATEST_TIME_FIELD_NUMBER: _ClassVar[int]
    source: int
    target: int
    relation: str
    count: int
    latest_time: _timestamp_pb2.Timestamp
    def __init__(self, source: _Optional[int] = ..., target: _Optional[int] = ..., relation: _Optional[str] = ..., count: _Optional[int] = ..., latest_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetMapRequest(_message.Message):
    __slots__ = ("max_items", "color_by", "near", "num_near")
    MAX_ITEMS_FIELD_NUMBER: _ClassVar[int]
    COLOR_BY_FIELD_NUMBER: _ClassVar[int]
    NEAR_FIELD_NUMBER: _ClassVar[int]
    NUM_NEAR_FIELD_NUMBER: _ClassVar[int]
    max_items: int
    color_by: str
    near: str
    num_near: int
    def __init__(self, max_items: _Optional[int] = ..., color_by: _Optional[str] = ..., near: _Optional[str] = ..., num_near: _Optional[int] = ...) -> None: ...

class GetMapResponse(_message.Message):
    __slots__ = ("points", "model_version")
    POINTS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    points: _containers.RepeatedCompositeFieldContainer[MapPoint]
    model_version: str
    def __init__(self, points: _Optional[_Iterable[_Union[MapPoint, _Mapping]]] = ..., model_version: _Optional[str] = ...) -> None: ...

class MapPoint(_message.Message):
    __slots__ = ("item", "name", "x", "y", "group", "cosine")
    ITEM_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    COSINE_FIELD_NUMBER: _ClassVar[int]
    item: str
    name: str
    x: float
    y: float
    group: str
    cosine: float
    def __init__(self, item: _Optional[str] = ..., name: _Optional[str] = ..., x: _Optional[float] = ..., y: _Optional[float] = ..., group: _Optional[str] = ..., cosine: _Optional[float] = ...) -> None: ...

class GetSeasonRequest(_message.Message):
    __slots__ = ("name", "weight")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    name: str
    weight: str
    def __init__(self, name: _Optional[str] = ..., weight: _Optional[str] = ...) -> None: ...

class GetSeasonResponse(_message.Message):
    __slots__ = ("profiles", "title", "num_items", "num_interactions", "weights")
    PROFILES_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    NUM_ITEMS_FIELD_NUMBER: _ClassVar[int]
    NUM_INTERACTIONS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    profiles: _containers.RepeatedCompositeFieldContainer[SeasonProfile]
    title: str
    num_items: int
    num_interactions: int
    weights: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, profiles: _Optional[_Iterable[_Union[SeasonProfile, _Mapping]]] = ..., title: _Optional[str] = ..., num_items: _Optional[int] = ..., num_interactions: _Optional[int] = ..., weights: _Optional[_Iterable[str]] = ...) -> None: ...

class SeasonProfile(_message.Message):
    __slots__ = ("span", "lifts", "counts")
    SPAN_FIELD_NUMBER: _ClassVar[int]
    LIFTS_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    span: str
    lifts: _containers.RepeatedScalarFieldContainer[float]
    counts: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, span: _Optional[str] = ..., lifts: _Optional[_Iterable[float]] = ..., counts: _Optional[_Iterable[int]] = ...) -> None: ...

class ListInSeasonRequest(_message.Message):
    __slots__ = ("event_time", "page_size", "min_interactions", "weight")
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    MIN_INTERACTIONS_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    event_time: _timestamp_pb2.Timestamp
    page_size: int
    min_interactions: float
    weight: str
    def __init__(self, event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., page_size: _Optional[int] = ..., min_interactions: _Optional[float] = ..., weight: _Optional[str] = ...) -> None: ...

class ListInSeasonResponse(_message.Message):
    __slots__ = ("items", "as_of_ms")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    AS_OF_MS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[ItemInSeason]
    as_of_ms: int
    def __init__(self, items: _Optional[_Iterable[_Union[ItemInSeason, _Mapping]]] = ..., as_of_ms: _Optional[int] = ...) -> None: ...

class ItemInSeason(_message.Message):
    __slots__ = ("item", "name", "group", "lift", "lifts", "num_interactions")
    class LiftsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    ITEM_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    LIFT_FIELD_NUMBER: _ClassVar[int]
    LIFTS_FIELD_NUMBER: _ClassVar[int]
    NUM_INTERACTIONS_FIELD_NUMBER: _ClassVar[int]
    item: str
    name: str
    group: str
    lift: float
    lifts: _containers.ScalarMap[str, float]
    num_interactions: int
    def __init__(self, item: _Optional[str] = ..., name: _Optional[str] = ..., group: _Optional[str] = ..., lift: _Optional[float] = ..., lifts: _Optional[_Mapping[str, float]] = ..., num_interactions: _Optional[int] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: str
    def __init__(self, version: _Optional[str] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model", "parts", "exponents", "curves", "gate", "request_id", "temperature", "checkpoint", "newest_event_time")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    EXPONENTS_FIELD_NUMBER: _ClassVar[int]
    CURVES_FIELD_NUMBER: _ClassVar[int]
    GATE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    NEWEST_EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    model: _admin_pb2.Model
    parts: _containers.RepeatedCompositeFieldContainer[ModelPart]
    exponents: _containers.RepeatedCompositeFieldContainer[Exponent]
    curves: _containers.RepeatedCompositeFieldContainer[Curve]
    gate: _containers.RepeatedCompositeFieldContainer[GateRow]
    request_id: str
    temperature: float
    checkpoint: str
    newest_event_time: _timestamp_pb2.Timestamp
    def __init__(self, model: _Optional[_Union[_admin_pb2.Model, _Mapping]] = ..., parts: _Optional[_Iterable[_Union[ModelPart, _Mapping]]] = ..., exponents: _Optional[_Iterable[_Union[Exponent, _Mapping]]] = ..., curves: _Optional[_Iterable[_Union[Curve, _Mapping]]] = ..., gate: _Optional[_Iterable[_Union[GateRow, _Mapping]]] = ..., request_id: _Optional[str] = ..., temperature: _Optional[float] = ..., checkpoint: _Optional[str] = ..., newest_event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ModelPart(_message.Message):
    __slots__ = ("kind", "name", "origin", "options_json")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_JSON_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    origin: str
    options_json: str
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., origin: _Optional[str] = ..., options_json: _Optional[str] = ...) -> None: ...

class Exponent(_message.Message):
    __slots__ = ("weight", "factor", "value", "error")
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    weight: str
    factor: str
    value: float
    error: float
    def __init__(self, weight: _Optional[str] = ..., factor: _Optional[str] = ..., value: _Optional[float] = ..., error: _Optional[float] = ...) -> None: ...

class Curve(_message.Message):
    __slots__ = ("name", "step", "steps", "values")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    name: str
    step: str
    steps: _containers.RepeatedScalarFieldContainer[float]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, name: _Optional[str] = ..., step: _Optional[str] = ..., steps: _Optional[_Iterable[float]] = ..., values: _Optional[_Iterable[float]] = ...) -> None: ...

class GateRow(_message.Message):
    __slots__ = ("name", "ndcg_at_20", "error", "num_questions")
    NAME_FIELD_NUMBER: _ClassVar[int]
    NDCG_AT_20_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    NUM_QUESTIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    ndcg_at_20: float
    error: float
    num_questions: int
    def __init__(self, name: _Optional[str] = ..., ndcg_at_20: _Optional[float] = ..., error: _Optional[float] = ..., num_questions: _Optional[int] = ...) -> None: ...

class ListModelChangesRequest(_message.Message):
    __slots__ = ("page_size",)
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    def __init__(self, page_size: _Optional[int] = ...) -> None: ...

class ListModelChangesResponse(_message.Message):
    __slots__ = ("changes",)
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[ModelChange]
    def __init__(self, changes: _Optional[_Iterable[_Union[ModelChange, _Mapping]]] = ...) -> None: ...

class ModelChange(_message.Message):
    __slots__ = ("change_time", "actor", "action", "from_version", "to_version", "reason")
    CHANGE_TIME_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    FROM_VERSION_FIELD_NUMBER: _ClassVar[int]
    TO_VERSION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    change_time: _timestamp_pb2.Timestamp
    actor: str
    action: str
    from_version: str
    to_version: str
    reason: str
    def __init__(self, change_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., actor: _Optional[str] = ..., action: _Optional[str] = ..., from_version: _Optional[str] = ..., to_version: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class GetQualityRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetQualityResponse(_message.Message):
    __slots__ = ("points", "segments")
    POINTS_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    points: _containers.RepeatedCompositeFieldContainer[QualityPoint]
    segments: _containers.RepeatedCompositeFieldContainer[SegmentQuality]
    def __init__(self, points: _Optional[_Iterable[_Union[QualityPoint, _Mapping]]] = ..., segments: _Optional[_Iterable[_Union[SegmentQuality, _Mapping]]] = ...) -> None: ...

class QualityPoint(_message.Message):
    __slots__ = ("start_time", "end_time", "model_version", "all", "new_to_user")
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    NEW_TO_USER_FIELD_NUMBER: _ClassVar[int]
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    model_version: str
    all: _admin_pb2.RankingQuality
    new_to_user: _admin_pb2.RankingQuality
    def __init__(self, start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., model_version: _Optional[str] = ..., all: _Optional[_Union[_admin_pb2.RankingQuality, _Mapping]] = ..., new_to_user: _Optional[_Union[_admin_pb2.RankingQuality, _Mapping]] = ...) -> None: ...

class SegmentQuality(_message.Message):
    __slots__ = ("split", "segment", "all", "new_to_user")
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    NEW_TO_USER_FIELD_NUMBER: _ClassVar[int]
    split: str
    segment: str
    all: _admin_pb2.RankingQuality
    new_to_user: _admin_pb2.RankingQuality
    def __init__(self, split: _Optional[str] = ..., segment: _Optional[str] = ..., all: _Optional[_Union[_admin_pb2.RankingQuality, _Mapping]] = ..., new_to_user: _Optional[_Union[_admin_pb2.RankingQuality, _Mapping]] = ...) -> None: ...
