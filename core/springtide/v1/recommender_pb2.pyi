import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RecommendView(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECOMMEND_VIEW_UNSPECIFIED: _ClassVar[RecommendView]
    RECOMMEND_VIEW_BASIC: _ClassVar[RecommendView]
    RECOMMEND_VIEW_FULL: _ClassVar[RecommendView]
    RECOMMEND_VIEW_WEIGHTS: _ClassVar[RecommendView]

class MomentSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MOMENT_SOURCE_UNSPECIFIED: _ClassVar[MomentSource]
    MOMENT_SOURCE_GIVEN: _ClassVar[MomentSource]
    MOMENT_SOURCE_WALL: _ClassVar[MomentSource]
    MOMENT_SOURCE_STREAM: _ClassVar[MomentSource]

class Personalization(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PERSONALIZATION_UNSPECIFIED: _ClassVar[Personalization]
    PERSONALIZATION_LEARNED: _ClassVar[Personalization]
    PERSONALIZATION_FOLDED_IN: _ClassVar[Personalization]
    PERSONALIZATION_CONTEXT_ONLY: _ClassVar[Personalization]
    PERSONALIZATION_FALLBACK: _ClassVar[Personalization]
RECOMMEND_VIEW_UNSPECIFIED: RecommendView
RECOMMEND_VIEW_BASIC: RecommendView
RECOMMEND_VIEW_FULL: RecommendView
RECOMMEND_VIEW_WEIGHTS: RecommendView
MOMENT_SOURCE_UNSPECIFIED: MomentSource
MOMENT_SOURCE_GIVEN: MomentSource
MOMENT_SOURCE_WALL: MomentSource
MOMENT_SOURCE_STREAM: MomentSource
PERSONALIZATION_UNSPECIFIED: Personalization
PERSONALIZATION_LEARNED: Personalization
PERSONALIZATION_FOLDED_IN: Personalization
PERSONALIZATION_CONTEXT_ONLY: Personalization
PERSONALIZATION_FALLBACK: Personalization

class RecommendRequest(_message.Message):
    __slots__ = ("user", "recent_items", "count", "context", "exclude_seen", "exclude_items", "allow_items", "category_filters", "min_position", "wait", "view", "scenario", "filter", "booster", "diversity", "diversity_attribute", "max_per", "rotation_rate", "rotation_time", "exploration", "min_relevance", "include_attributes", "page_token", "reranker", "language")
    class MaxPerEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    USER_FIELD_NUMBER: _ClassVar[int]
    RECENT_ITEMS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_SEEN_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_ITEMS_FIELD_NUMBER: _ClassVar[int]
    ALLOW_ITEMS_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FILTERS_FIELD_NUMBER: _ClassVar[int]
    MIN_POSITION_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    SCENARIO_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    BOOSTER_FIELD_NUMBER: _ClassVar[int]
    DIVERSITY_FIELD_NUMBER: _ClassVar[int]
    DIVERSITY_ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    MAX_PER_FIELD_NUMBER: _ClassVar[int]
    ROTATION_RATE_FIELD_NUMBER: _ClassVar[int]
    ROTATION_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPLORATION_FIELD_NUMBER: _ClassVar[int]
    MIN_RELEVANCE_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    RERANKER_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    user: str
    recent_items: _containers.RepeatedScalarFieldContainer[str]
    count: int
    context: Context
    exclude_seen: _containers.RepeatedScalarFieldContainer[str]
    exclude_items: _containers.RepeatedScalarFieldContainer[str]
    allow_items: _containers.RepeatedScalarFieldContainer[str]
    category_filters: _containers.RepeatedCompositeFieldContainer[CategoryFilter]
    min_position: GraphPosition
    wait: _duration_pb2.Duration
    view: RecommendView
    scenario: str
    filter: str
    booster: str
    diversity: float
    diversity_attribute: str
    max_per: _containers.ScalarMap[str, int]
    rotation_rate: float
    rotation_time: _duration_pb2.Duration
    exploration: float
    min_relevance: float
    include_attributes: _containers.RepeatedScalarFieldContainer[str]
    page_token: str
    reranker: str
    language: str
    def __init__(self, user: _Optional[str] = ..., recent_items: _Optional[_Iterable[str]] = ..., count: _Optional[int] = ..., context: _Optional[_Union[Context, _Mapping]] = ..., exclude_seen: _Optional[_Iterable[str]] = ..., exclude_items: _Optional[_Iterable[str]] = ..., allow_items: _Optional[_Iterable[str]] = ..., category_filters: _Optional[_Iterable[_Union[CategoryFilter, _Mapping]]] = ..., min_position: _Optional[_Union[GraphPosition, _Mapping]] = ..., wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., view: _Optional[_Union[RecommendView, str]] = ..., scenario: _Optional[str] = ..., filter: _Optional[str] = ..., booster: _Optional[str] = ..., diversity: _Optional[float] = ..., diversity_attribute: _Optional[str] = ..., max_per: _Optional[_Mapping[str, int]] = ..., rotation_rate: _Optional[float] = ..., rotation_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., exploration: _Optional[float] = ..., min_relevance: _Optional[float] = ..., include_attributes: _Optional[_Iterable[str]] = ..., page_token: _Optional[str] = ..., reranker: _Optional[str] = ..., language: _Optional[str] = ...) -> None: ...

class Context(_message.Message):
    __slots__ = ("event_time", "place", "weather", "attributes")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    WEATHER_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    event_time: _timestamp_pb2.Timestamp
    place: str
    weather: str
    attributes: _containers.ScalarMap[str, str]
    def __init__(self, event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., place: _Optional[str] = ..., weather: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class CategoryFilter(_message.Message):
    __slots__ = ("attribute", "values")
    ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    attribute: str
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, attribute: _Optional[str] = ..., values: _Optional[_Iterable[str]] = ...) -> None: ...

class GraphPosition(_message.Message):
    __slots__ = ("next_offsets",)
    class NextOffsetsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: int
        def __init__(self, key: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...
    NEXT_OFFSETS_FIELD_NUMBER: _ClassVar[int]
    next_offsets: _containers.ScalarMap[int, int]
    def __init__(self, next_offsets: _Optional[_Mapping[int, int]] = ...) -> None: ...

class RecommendResponse(_message.Message):
    __slots__ = ("items", "model_version", "position", "personalization", "is_behind_min_position", "as_of_ms", "as_of_source", "weight_names", "recommendation_id", "experiment_arms", "next_page_token")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    PERSONALIZATION_FIELD_NUMBER: _ClassVar[int]
    IS_BEHIND_MIN_POSITION_FIELD_NUMBER: _ClassVar[int]
    AS_OF_MS_FIELD_NUMBER: _ClassVar[int]
    AS_OF_SOURCE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_NAMES_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDATION_ID_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_ARMS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[RecommendedItem]
    model_version: str
    position: GraphPosition
    personalization: Personalization
    is_behind_min_position: bool
    as_of_ms: int
    as_of_source: MomentSource
    weight_names: _containers.RepeatedScalarFieldContainer[str]
    recommendation_id: str
    experiment_arms: _containers.RepeatedCompositeFieldContainer[ExperimentArm]
    next_page_token: str
    def __init__(self, items: _Optional[_Iterable[_Union[RecommendedItem, _Mapping]]] = ..., model_version: _Optional[str] = ..., position: _Optional[_Union[GraphPosition, _Mapping]] = ..., personalization: _Optional[_Union[Personalization, str]] = ..., is_behind_min_position: _Optional[bool] = ..., as_of_ms: _Optional[int] = ..., as_of_source: _Optional[_Union[MomentSource, str]] = ..., weight_names: _Optional[_Iterable[str]] = ..., recommendation_id: _Optional[str] = ..., experiment_arms: _Optional[_Iterable[_Union[ExperimentArm, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ExperimentArm(_message.Message):
    __slots__ = ("experiment", "variant")
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    experiment: str
    variant: str
    def __init__(self, experiment: _Optional[str] = ..., variant: _Optional[str] = ...) -> None: ...

class AttributeValue(_message.Message):
    __slots__ = ("categories", "number", "text", "vector")
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    categories: _containers.RepeatedScalarFieldContainer[str]
    number: float
    text: str
    vector: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, categories: _Optional[_Iterable[str]] = ..., number: _Optional[float] = ..., text: _Optional[str] = ..., vector: _Optional[_Iterable[float]] = ...) -> None: ...

class RecommendedItem(_message.Message):
    __slots__ = ("item", "score", "cosine", "weights", "attributes", "placed_by", "propensity", "reason", "paths")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: AttributeValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[AttributeValue, _Mapping]] = ...) -> None: ...
    ITEM_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    COSINE_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    PLACED_BY_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PATHS_FIELD_NUMBER: _ClassVar[int]
    item: str
    score: float
    cosine: float
    weights: _containers.RepeatedScalarFieldContainer[float]
    attributes: _containers.MessageMap[str, AttributeValue]
    placed_by: str
    propensity: float
    reason: str
    paths: _containers.RepeatedCompositeFieldContainer[Path]
    def __init__(self, item: _Optional[str] = ..., score: _Optional[float] = ..., cosine: _Optional[float] = ..., weights: _Optional[_Iterable[float]] = ..., attributes: _Optional[_Mapping[str, AttributeValue]] = ..., placed_by: _Optional[str] = ..., propensity: _Optional[float] = ..., reason: _Optional[str] = ..., paths: _Optional[_Iterable[_Union[Path, _Mapping]]] = ...) -> None: ...

class Path(_message.Message):
    __slots__ = ("kind", "nodes", "attribute", "value", "relation", "num_people", "num_recent_people", "user_time", "latest_time", "share", "is_lower_bound", "num_own")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    NUM_PEOPLE_FIELD_NUMBER: _ClassVar[int]
    NUM_RECENT_PEOPLE_FIELD_NUMBER: _ClassVar[int]
    USER_TIME_FIELD_NUMBER: _ClassVar[int]
    LATEST_TIME_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    IS_LOWER_BOUND_FIELD_NUMBER: _ClassVar[int]
    NUM_OWN_FIELD_NUMBER: _ClassVar[int]
    kind: str
    nodes: _containers.RepeatedCompositeFieldContainer[PathNode]
    attribute: str
    value: str
    relation: str
    num_people: int
    num_recent_people: int
    user_time: _timestamp_pb2.Timestamp
    latest_time: _timestamp_pb2.Timestamp
    share: float
    is_lower_bound: bool
    num_own: int
    def __init__(self, kind: _Optional[str] = ..., nodes: _Optional[_Iterable[_Union[PathNode, _Mapping]]] = ..., attribute: _Optional[str] = ..., value: _Optional[str] = ..., relation: _Optional[str] = ..., num_people: _Optional[int] = ..., num_recent_people: _Optional[int] = ..., user_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., latest_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., share: _Optional[float] = ..., is_lower_bound: _Optional[bool] = ..., num_own: _Optional[int] = ...) -> None: ...

class PathNode(_message.Message):
    __slots__ = ("type", "id")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    type: str
    id: str
    def __init__(self, type: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class SimilarItemsRequest(_message.Message):
    __slots__ = ("item", "count", "category_filters", "context", "scenario", "filter", "include_attributes", "exclude_items")
    ITEM_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FILTERS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    SCENARIO_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_ITEMS_FIELD_NUMBER: _ClassVar[int]
    item: str
    count: int
    category_filters: _containers.RepeatedCompositeFieldContainer[CategoryFilter]
    context: Context
    scenario: str
    filter: str
    include_attributes: _containers.RepeatedScalarFieldContainer[str]
    exclude_items: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, item: _Optional[str] = ..., count: _Optional[int] = ..., category_filters: _Optional[_Iterable[_Union[CategoryFilter, _Mapping]]] = ..., context: _Optional[_Union[Context, _Mapping]] = ..., scenario: _Optional[str] = ..., filter: _Optional[str] = ..., include_attributes: _Optional[_Iterable[str]] = ..., exclude_items: _Optional[_Iterable[str]] = ...) -> None: ...

class SimilarItemsResponse(_message.Message):
    __slots__ = ("items", "model_version")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[SimilarItem]
    model_version: str
    def __init__(self, items: _Optional[_Iterable[_Union[SimilarItem, _Mapping]]] = ..., model_version: _Optional[str] = ...) -> None: ...

class SimilarItem(_message.Message):
    __slots__ = ("item", "cosine", "attributes")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: AttributeValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[AttributeValue, _Mapping]] = ...) -> None: ...
    ITEM_FIELD_NUMBER: _ClassVar[int]
    COSINE_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    item: str
    cosine: float
    attributes: _containers.MessageMap[str, AttributeValue]
    def __init__(self, item: _Optional[str] = ..., cosine: _Optional[float] = ..., attributes: _Optional[_Mapping[str, AttributeValue]] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("user", "item", "context", "recent_items", "max_paths", "time_limit", "count", "language")
    USER_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    RECENT_ITEMS_FIELD_NUMBER: _ClassVar[int]
    MAX_PATHS_FIELD_NUMBER: _ClassVar[int]
    TIME_LIMIT_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    user: str
    item: str
    context: Context
    recent_items: _containers.RepeatedScalarFieldContainer[str]
    max_paths: int
    time_limit: _duration_pb2.Duration
    count: int
    language: str
    def __init__(self, user: _Optional[str] = ..., item: _Optional[str] = ..., context: _Optional[_Union[Context, _Mapping]] = ..., recent_items: _Optional[_Iterable[str]] = ..., max_paths: _Optional[int] = ..., time_limit: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., count: _Optional[int] = ..., language: _Optional[str] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("item", "score", "rank", "cosine", "cosine_exponent", "weights", "sentence", "model_version", "personalization", "as_of_ms", "as_of_source", "paths", "events", "neighbours", "counterfactual", "reason", "is_cut")
    ITEM_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    COSINE_FIELD_NUMBER: _ClassVar[int]
    COSINE_EXPONENT_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    PERSONALIZATION_FIELD_NUMBER: _ClassVar[int]
    AS_OF_MS_FIELD_NUMBER: _ClassVar[int]
    AS_OF_SOURCE_FIELD_NUMBER: _ClassVar[int]
    PATHS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOURS_FIELD_NUMBER: _ClassVar[int]
    COUNTERFACTUAL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    IS_CUT_FIELD_NUMBER: _ClassVar[int]
    item: str
    score: float
    rank: int
    cosine: float
    cosine_exponent: float
    weights: _containers.RepeatedCompositeFieldContainer[WeightExplanation]
    sentence: str
    model_version: str
    personalization: Personalization
    as_of_ms: int
    as_of_source: MomentSource
    paths: _containers.RepeatedCompositeFieldContainer[Path]
    events: _containers.RepeatedCompositeFieldContainer[EventInfluence]
    neighbours: _containers.RepeatedCompositeFieldContainer[NeighbourInfluence]
    counterfactual: Counterfactual
    reason: str
    is_cut: bool
    def __init__(self, item: _Optional[str] = ..., score: _Optional[float] = ..., rank: _Optional[int] = ..., cosine: _Optional[float] = ..., cosine_exponent: _Optional[float] = ..., weights: _Optional[_Iterable[_Union[WeightExplanation, _Mapping]]] = ..., sentence: _Optional[str] = ..., model_version: _Optional[str] = ..., personalization: _Optional[_Union[Personalization, str]] = ..., as_of_ms: _Optional[int] = ..., as_of_source: _Optional[_Union[MomentSource, str]] = ..., paths: _Optional[_Iterable[_Union[Path, _Mapping]]] = ..., events: _Optional[_Iterable[_Union[EventInfluence, _Mapping]]] = ..., neighbours: _Optional[_Iterable[_Union[NeighbourInfluence, _Mapping]]] = ..., counterfactual: _Optional[_Union[Counterfactual, _Mapping]] = ..., reason: _Optional[str] = ..., is_cut: _Optional[bool] = ...) -> None: ...

class EventInfluence(_message.Message):
    __slots__ = ("item", "relation", "event_time", "influence")
    ITEM_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    INFLUENCE_FIELD_NUMBER: _ClassVar[int]
    item: str
    relation: str
    event_time: _timestamp_pb2.Timestamp
    influence: float
    def __init__(self, item: _Optional[str] = ..., relation: _Optional[str] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., influence: _Optional[float] = ...) -> None: ...

class NeighbourInfluence(_message.Message):
    __slots__ = ("side", "node", "relation", "influence", "attention")
    SIDE_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    INFLUENCE_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_FIELD_NUMBER: _ClassVar[int]
    side: str
    node: PathNode
    relation: str
    influence: float
    attention: float
    def __init__(self, side: _Optional[str] = ..., node: _Optional[_Union[PathNode, _Mapping]] = ..., relation: _Optional[str] = ..., influence: _Optional[float] = ..., attention: _Optional[float] = ...) -> None: ...

class Counterfactual(_message.Message):
    __slots__ = ("items", "rank", "is_smallest")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    IS_SMALLEST_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedScalarFieldContainer[str]
    rank: int
    is_smallest: bool
    def __init__(self, items: _Optional[_Iterable[str]] = ..., rank: _Optional[int] = ..., is_smallest: _Optional[bool] = ...) -> None: ...

class WeightExplanation(_message.Message):
    __slots__ = ("name", "weight", "factors")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    FACTORS_FIELD_NUMBER: _ClassVar[int]
    name: str
    weight: float
    factors: _containers.RepeatedCompositeFieldContainer[FactorExplanation]
    def __init__(self, name: _Optional[str] = ..., weight: _Optional[float] = ..., factors: _Optional[_Iterable[_Union[FactorExplanation, _Mapping]]] = ...) -> None: ...

class FactorExplanation(_message.Message):
    __slots__ = ("name", "lift", "exponent", "weight")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LIFT_FIELD_NUMBER: _ClassVar[int]
    EXPONENT_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    name: str
    lift: float
    exponent: float
    weight: float
    def __init__(self, name: _Optional[str] = ..., lift: _Optional[float] = ..., exponent: _Optional[float] = ..., weight: _Optional[float] = ...) -> None: ...

class RecommendBatchRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[RecommendRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[RecommendRequest, _Mapping]]] = ...) -> None: ...

class RecommendBatchResponse(_message.Message):
    __slots__ = ("index", "answer", "refusal")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    index: int
    answer: RecommendResponse
    refusal: str
    def __init__(self, index: _Optional[int] = ..., answer: _Optional[_Union[RecommendResponse, _Mapping]] = ..., refusal: _Optional[str] = ...) -> None: ...

class SimilarUsersRequest(_message.Message):
    __slots__ = ("user", "count", "context", "filter", "scenario")
    USER_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    SCENARIO_FIELD_NUMBER: _ClassVar[int]
    user: str
    count: int
    context: Context
    filter: str
    scenario: str
    def __init__(self, user: _Optional[str] = ..., count: _Optional[int] = ..., context: _Optional[_Union[Context, _Mapping]] = ..., filter: _Optional[str] = ..., scenario: _Optional[str] = ...) -> None: ...

class SimilarUsersResponse(_message.Message):
    __slots__ = ("users", "model_version")
    USERS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    users: _containers.RepeatedCompositeFieldContainer[SimilarUser]
    model_version: str
    def __init__(self, users: _Optional[_Iterable[_Union[SimilarUser, _Mapping]]] = ..., model_version: _Optional[str] = ...) -> None: ...

class SimilarUser(_message.Message):
    __slots__ = ("user", "cosine")
    USER_FIELD_NUMBER: _ClassVar[int]
    COSINE_FIELD_NUMBER: _ClassVar[int]
    user: str
    cosine: float
    def __init__(self, user: _Optional[str] = ..., cosine: _Optional[float] = ...) -> None: ...

class NextItemsRequest(_message.Message):
    __slots__ = ("user", "count", "context", "scenario", "filter", "exclude_seen", "exclude_items", "include_attributes", "items")
    USER_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    SCENARIO_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_SEEN_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_ITEMS_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    user: str
    count: int
    context: Context
    scenario: str
    filter: str
    exclude_seen: _containers.RepeatedScalarFieldContainer[str]
    exclude_items: _containers.RepeatedScalarFieldContainer[str]
    include_attributes: _containers.RepeatedScalarFieldContainer[str]
    items: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, user: _Optional[str] = ..., count: _Optional[int] = ..., context: _Optional[_Union[Context, _Mapping]] = ..., scenario: _Optional[str] = ..., filter: _Optional[str] = ..., exclude_seen: _Optional[_Iterable[str]] = ..., exclude_items: _Optional[_Iterable[str]] = ..., include_attributes: _Optional[_Iterable[str]] = ..., items: _Optional[_Iterable[str]] = ...) -> None: ...

class NextItemsResponse(_message.Message):
    __slots__ = ("answer",)
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    answer: RecommendResponse
    def __init__(self, answer: _Optional[_Union[RecommendResponse, _Mapping]] = ...) -> None: ...

class TrendingRequest(_message.Message):
    __slots__ = ("user", "count", "context", "scenario", "filter", "exclude_seen", "exclude_items", "include_attributes")
    USER_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    SCENARIO_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_SEEN_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_ITEMS_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    user: str
    count: int
    context: Context
    scenario: str
    filter: str
    exclude_seen: _containers.RepeatedScalarFieldContainer[str]
    exclude_items: _containers.RepeatedScalarFieldContainer[str]
    include_attributes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, user: _Optional[str] = ..., count: _Optional[int] = ..., context: _Optional[_Union[Context, _Mapping]] = ..., scenario: _Optional[str] = ..., filter: _Optional[str] = ..., exclude_seen: _Optional[_Iterable[str]] = ..., exclude_items: _Optional[_Iterable[str]] = ..., include_attributes: _Optional[_Iterable[str]] = ...) -> None: ...

class TrendingResponse(_message.Message):
    __slots__ = ("answer",)
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    answer: RecommendResponse
    def __init__(self, answer: _Optional[_Union[RecommendResponse, _Mapping]] = ...) -> None: ...

class NewItemsRequest(_message.Message):
    __slots__ = ("user", "count", "context", "scenario", "filter", "exclude_seen", "exclude_items", "include_attributes", "max_age")
    USER_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    SCENARIO_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_SEEN_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_ITEMS_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    MAX_AGE_FIELD_NUMBER: _ClassVar[int]
    user: str
    count: int
    context: Context
    scenario: str
    filter: str
    exclude_seen: _containers.RepeatedScalarFieldContainer[str]
    exclude_items: _containers.RepeatedScalarFieldContainer[str]
    include_attributes: _containers.RepeatedScalarFieldContainer[str]
    max_age: _duration_pb2.Duration
    def __init__(self, user: _Optional[str] = ..., count: _Optional[int] = ..., context: _Optional[_Union[Context, _Mapping]] = ..., scenario: _Optional[str] = ..., filter: _Optional[str] = ..., exclude_seen: _Optional[_Iterable[str]] = ..., exclude_items: _Optional[_Iterable[str]] = ..., include_attributes: _Optional[_Iterable[str]] = ..., max_age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class NewItemsResponse(_message.Message):
    __slots__ = ("answer",)
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    answer: RecommendResponse
    def __init__(self, answer: _Optional[_Union[RecommendResponse, _Mapping]] = ...) -> None: ...

class RankRequest(_message.Message):
    __slots__ = ("user", "items", "context", "scenario", "filter", "exclude_seen", "exclude_items", "include_attributes", "recent_items")
    USER_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    SCENARIO_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_SEEN_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_ITEMS_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    RECENT_ITEMS_FIELD_NUMBER: _ClassVar[int]
    user: str
    items: _containers.RepeatedScalarFieldContainer[str]
    context: Context
    scenario: str
    filter: str
    exclude_seen: _containers.RepeatedScalarFieldContainer[str]
    exclude_items: _containers.RepeatedScalarFieldContainer[str]
    include_attributes: _containers.RepeatedScalarFieldContainer[str]
    recent_items: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, user: _Optional[str] = ..., items: _Optional[_Iterable[str]] = ..., context: _Optional[_Union[Context, _Mapping]] = ..., scenario: _Optional[str] = ..., filter: _Optional[str] = ..., exclude_seen: _Optional[_Iterable[str]] = ..., exclude_items: _Optional[_Iterable[str]] = ..., include_attributes: _Optional[_Iterable[str]] = ..., recent_items: _Optional[_Iterable[str]] = ...) -> None: ...

class RankResponse(_message.Message):
    __slots__ = ("answer",)
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    answer: RecommendResponse
    def __init__(self, answer: _Optional[_Union[RecommendResponse, _Mapping]] = ...) -> None: ...
