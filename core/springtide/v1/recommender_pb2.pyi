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
    __slots__ = ("user", "recent_items", "count", "context", "exclude_seen", "exclude_items", "allow_items", "category_filters", "min_position", "wait", "view")
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
    def __init__(self, user: _Optional[str] = ..., recent_items: _Optional[_Iterable[str]] = ..., count: _Optional[int] = ..., context: _Optional[_Union[Context, _Mapping]] = ..., exclude_seen: _Optional[_Iterable[str]] = ..., exclude_items: _Optional[_Iterable[str]] = ..., allow_items: _Optional[_Iterable[str]] = ..., category_filters: _Optional[_Iterable[_Union[CategoryFilter, _Mapping]]] = ..., min_position: _Optional[_Union[GraphPosition, _Mapping]] = ..., wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., view: _Optional[_Union[RecommendView, str]] = ...) -> None: ...

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
    __slots__ = ("items", "model_version", "position", "personalization", "is_behind_min_position", "as_of_ms", "as_of_source", "weight_names")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    PERSONALIZATION_FIELD_NUMBER: _ClassVar[int]
    IS_BEHIND_MIN_POSITION_FIELD_NUMBER: _ClassVar[int]
    AS_OF_MS_FIELD_NUMBER: _ClassVar[int]
    AS_OF_SOURCE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_NAMES_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[RecommendedItem]
    model_version: str
    position: GraphPosition
    personalization: Personalization
    is_behind_min_position: bool
    as_of_ms: int
    as_of_source: MomentSource
    weight_names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, items: _Optional[_Iterable[_Union[RecommendedItem, _Mapping]]] = ..., model_version: _Optional[str] = ..., position: _Optional[_Union[GraphPosition, _Mapping]] = ..., personalization: _Optional[_Union[Personalization, str]] = ..., is_behind_min_position: _Optional[bool] = ..., as_of_ms: _Optional[int] = ..., as_of_source: _Optional[_Union[MomentSource, str]] = ..., weight_names: _Optional[_Iterable[str]] = ...) -> None: ...

class RecommendedItem(_message.Message):
    __slots__ = ("item", "score", "cosine", "weights")
    ITEM_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    COSINE_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    item: str
    score: float
    cosine: float
    weights: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, item: _Optional[str] = ..., score: _Optional[float] = ..., cosine: _Optional[float] = ..., weights: _Optional[_Iterable[float]] = ...) -> None: ...

class SimilarItemsRequest(_message.Message):
    __slots__ = ("item", "count", "category_filters")
    ITEM_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FILTERS_FIELD_NUMBER: _ClassVar[int]
    item: str
    count: int
    category_filters: _containers.RepeatedCompositeFieldContainer[CategoryFilter]
    def __init__(self, item: _Optional[str] = ..., count: _Optional[int] = ..., category_filters: _Optional[_Iterable[_Union[CategoryFilter, _Mapping]]] = ...) -> None: ...

class SimilarItemsResponse(_message.Message):
    __slots__ = ("items", "model_version")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[SimilarItem]
    model_version: str
    def __init__(self, items: _Optional[_Iterable[_Union[SimilarItem, _Mapping]]] = ..., model_version: _Optional[str] = ...) -> None: ...

class SimilarItem(_message.Message):
    __slots__ = ("item", "cosine")
    ITEM_FIELD_NUMBER: _ClassVar[int]
    COSINE_FIELD_NUMBER: _ClassVar[int]
    item: str
    cosine: float
    def __init__(self, item: _Optional[str] = ..., cosine: _Optional[float] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("user", "item", "context", "recent_items")
    USER_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    RECENT_ITEMS_FIELD_NUMBER: _ClassVar[int]
    user: str
    item: str
    context: Context
    recent_items: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, user: _Optional[str] = ..., item: _Optional[str] = ..., context: _Optional[_Union[Context, _Mapping]] = ..., recent_items: _Optional[_Iterable[str]] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("item", "score", "rank", "cosine", "cosine_exponent", "weights", "sentence", "model_version", "personalization", "as_of_ms", "as_of_source")
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
    def __init__(self, item: _Optional[str] = ..., score: _Optional[float] = ..., rank: _Optional[int] = ..., cosine: _Optional[float] = ..., cosine_exponent: _Optional[float] = ..., weights: _Optional[_Iterable[_Union[WeightExplanation, _Mapping]]] = ..., sentence: _Optional[str] = ..., model_version: _Optional[str] = ..., personalization: _Optional[_Union[Personalization, str]] = ..., as_of_ms: _Optional[int] = ..., as_of_source: _Optional[_Union[MomentSource, str]] = ...) -> None: ...

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
