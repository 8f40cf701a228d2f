import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Event(_message.Message):
    __slots__ = ("event_id", "event_time", "interaction", "node_upsert", "relation", "node_delete", "batch")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    INTERACTION_FIELD_NUMBER: _ClassVar[int]
    NODE_UPSERT_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    NODE_DELETE_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    event_time: _timestamp_pb2.Timestamp
    interaction: Interaction
    node_upsert: NodeUpsert
    relation: Relation
    node_delete: NodeDelete
    batch: EventBatch
    def __init__(self, event_id: _Optional[str] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., interaction: _Optional[_Union[Interaction, _Mapping]] = ..., node_upsert: _Optional[_Union[NodeUpsert, _Mapping]] = ..., relation: _Optional[_Union[Relation, _Mapping]] = ..., node_delete: _Optional[_Union[NodeDelete, _Mapping]] = ..., batch: _Optional[_Union[EventBatch, _Mapping]] = ...) -> None: ...

class Interaction(_message.Message):
    __slots__ = ("user", "item", "type", "value", "context", "recommendation_id")
    class ContextEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    USER_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDATION_ID_FIELD_NUMBER: _ClassVar[int]
    user: str
    item: str
    type: str
    value: float
    context: _containers.ScalarMap[str, str]
    recommendation_id: str
    def __init__(self, user: _Optional[str] = ..., item: _Optional[str] = ..., type: _Optional[str] = ..., value: _Optional[float] = ..., context: _Optional[_Mapping[str, str]] = ..., recommendation_id: _Optional[str] = ...) -> None: ...

class NodeUpsert(_message.Message):
    __slots__ = ("type", "id", "categories", "numbers", "texts", "vectors")
    class CategoriesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: StringList
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[StringList, _Mapping]] = ...) -> None: ...
    class NumbersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class TextsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class VectorsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: FloatList
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[FloatList, _Mapping]] = ...) -> None: ...
    TYPE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    type: str
    id: str
    categories: _containers.MessageMap[str, StringList]
    numbers: _containers.ScalarMap[str, float]
    texts: _containers.ScalarMap[str, str]
    vectors: _containers.MessageMap[str, FloatList]
    def __init__(self, type: _Optional[str] = ..., id: _Optional[str] = ..., categories: _Optional[_Mapping[str, StringList]] = ..., numbers: _Optional[_Mapping[str, float]] = ..., texts: _Optional[_Mapping[str, str]] = ..., vectors: _Optional[_Mapping[str, FloatList]] = ...) -> None: ...

class StringList(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, values: _Optional[_Iterable[str]] = ...) -> None: ...

class FloatList(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class Relation(_message.Message):
    __slots__ = ("source_type", "source_id", "relation", "target_type", "target_id", "weight")
    SOURCE_TYPE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    TARGET_TYPE_FIELD_NUMBER: _ClassVar[int]
    TARGET_ID_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    source_type: str
    source_id: str
    relation: str
    target_type: str
    target_id: str
    weight: float
    def __init__(self, source_type: _Optional[str] = ..., source_id: _Optional[str] = ..., relation: _Optional[str] = ..., target_type: _Optional[str] = ..., target_id: _Optional[str] = ..., weight: _Optional[float] = ...) -> None: ...

class NodeDelete(_message.Message):
    __slots__ = ("type", "id")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    type: str
    id: str
    def __init__(self, type: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class EventBatch(_message.Message):
    __slots__ = ("dictionary", "users", "items", "types", "event_times_ms", "values", "event_ids", "recommendation_ids")
    DICTIONARY_FIELD_NUMBER: _ClassVar[int]
    USERS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIMES_MS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    EVENT_IDS_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDATION_IDS_FIELD_NUMBER: _ClassVar[int]
    dictionary: _containers.RepeatedScalarFieldContainer[str]
    users: _containers.RepeatedScalarFieldContainer[int]
    items: _containers.RepeatedScalarFieldContainer[int]
    types: _containers.RepeatedScalarFieldContainer[int]
    event_times_ms: _containers.RepeatedScalarFieldContainer[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    event_ids: _containers.RepeatedScalarFieldContainer[str]
    recommendation_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, dictionary: _Optional[_Iterable[str]] = ..., users: _Optional[_Iterable[int]] = ..., items: _Optional[_Iterable[int]] = ..., types: _Optional[_Iterable[int]] = ..., event_times_ms: _Optional[_Iterable[int]] = ..., values: _Optional[_Iterable[float]] = ..., event_ids: _Optional[_Iterable[str]] = ..., recommendation_ids: _Optional[_Iterable[str]] = ...) -> None: ...
