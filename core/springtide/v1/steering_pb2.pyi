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

class RuleAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RULE_ACTION_UNSPECIFIED: _ClassVar[RuleAction]
    RULE_ACTION_PIN: _ClassVar[RuleAction]
    RULE_ACTION_BOOST: _ClassVar[RuleAction]
    RULE_ACTION_BURY: _ClassVar[RuleAction]
    RULE_ACTION_BLOCK: _ClassVar[RuleAction]
RULE_ACTION_UNSPECIFIED: RuleAction
RULE_ACTION_PIN: RuleAction
RULE_ACTION_BOOST: RuleAction
RULE_ACTION_BURY: RuleAction
RULE_ACTION_BLOCK: RuleAction

class Steering(_message.Message):
    __slots__ = ("rules", "scenarios", "experiments")
    RULES_FIELD_NUMBER: _ClassVar[int]
    SCENARIOS_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENTS_FIELD_NUMBER: _ClassVar[int]
    rules: _containers.RepeatedCompositeFieldContainer[Rule]
    scenarios: _containers.RepeatedCompositeFieldContainer[Scenario]
    experiments: _containers.RepeatedCompositeFieldContainer[Experiment]
    def __init__(self, rules: _Optional[_Iterable[_Union[Rule, _Mapping]]] = ..., scenarios: _Optional[_Iterable[_Union[Scenario, _Mapping]]] = ..., experiments: _Optional[_Iterable[_Union[Experiment, _Mapping]]] = ...) -> None: ...

class Rule(_message.Message):
    __slots__ = ("name", "action", "items", "filter", "segment", "factor", "slot", "start_time", "end_time", "scenarios", "note")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    SCENARIOS_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    name: str
    action: RuleAction
    items: _containers.RepeatedScalarFieldContainer[str]
    filter: str
    segment: str
    factor: float
    slot: int
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    scenarios: _containers.RepeatedScalarFieldContainer[str]
    note: str
    def __init__(self, name: _Optional[str] = ..., action: _Optional[_Union[RuleAction, str]] = ..., items: _Optional[_Iterable[str]] = ..., filter: _Optional[str] = ..., segment: _Optional[str] = ..., factor: _Optional[float] = ..., slot: _Optional[int] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., scenarios: _Optional[_Iterable[str]] = ..., note: _Optional[str] = ...) -> None: ...

class Scenario(_message.Message):
    __slots__ = ("name", "filter", "booster", "count", "diversity", "diversity_attribute", "max_per", "rotation_rate", "rotation_time", "exploration", "min_relevance", "exclude_seen", "include_attributes", "reranker", "weights", "note")
    class MaxPerEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class WeightsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    BOOSTER_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    DIVERSITY_FIELD_NUMBER: _ClassVar[int]
    DIVERSITY_ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    MAX_PER_FIELD_NUMBER: _ClassVar[int]
    ROTATION_RATE_FIELD_NUMBER: _ClassVar[int]
    ROTATION_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPLORATION_FIELD_NUMBER: _ClassVar[int]
    MIN_RELEVANCE_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_SEEN_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    RERANKER_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    name: str
    filter: str
    booster: str
    count: int
    diversity: float
    diversity_attribute: str
    max_per: _containers.ScalarMap[str, int]
    rotation_rate: float
    rotation_time: _duration_pb2.Duration
    exploration: float
    min_relevance: float
    exclude_seen: _containers.RepeatedScalarFieldContainer[str]
    include_attributes: _containers.RepeatedScalarFieldContainer[str]
    reranker: str
    weights: _containers.ScalarMap[str, float]
    note: str
    def __init__(self, name: _Optional[str] = ..., filter: _Optional[str] = ..., booster: _Optional[str] = ..., count: _Optional[int] = ..., diversity: _Optional[float] = ..., diversity_attribute: _Optional[str] = ..., max_per: _Optional[_Mapping[str, int]] = ..., rotation_rate: _Optional[float] = ..., rotation_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., exploration: _Optional[float] = ..., min_relevance: _Optional[float] = ..., exclude_seen: _Optional[_Iterable[str]] = ..., include_attributes: _Optional[_Iterable[str]] = ..., reranker: _Optional[str] = ..., weights: _Optional[_Mapping[str, float]] = ..., note: _Optional[str] = ...) -> None: ...

class Experiment(_message.Message):
    __slots__ = ("name", "layer", "salt", "variants", "start_time", "end_time", "conversions", "note")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    SALT_FIELD_NUMBER: _ClassVar[int]
    VARIANTS_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    CONVERSIONS_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    name: str
    layer: str
    salt: str
    variants: _containers.RepeatedCompositeFieldContainer[Variant]
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    conversions: _containers.RepeatedScalarFieldContainer[str]
    note: str
    def __init__(self, name: _Optional[str] = ..., layer: _Optional[str] = ..., salt: _Optional[str] = ..., variants: _Optional[_Iterable[_Union[Variant, _Mapping]]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., conversions: _Optional[_Iterable[str]] = ..., note: _Optional[str] = ...) -> None: ...

class Variant(_message.Message):
    __slots__ = ("name", "share", "model_version", "scenario", "weights")
    class WeightsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    SCENARIO_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    share: float
    model_version: str
    scenario: str
    weights: _containers.ScalarMap[str, float]
    def __init__(self, name: _Optional[str] = ..., share: _Optional[float] = ..., model_version: _Optional[str] = ..., scenario: _Optional[str] = ..., weights: _Optional[_Mapping[str, float]] = ...) -> None: ...
