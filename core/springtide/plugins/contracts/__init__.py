"""The contracts of parts: what a part of each kind must do, built in or from a plugin."""

from collections.abc import Callable
from typing import Any

from torch_geometric.nn import Aggregation

from springtide.events.raw import RawEvent
from springtide.events.record_decoders import EventDecoder
from springtide.interactions import Circumstances, History, ItemGroups, Moment, Observed
from springtide.plugins.contracts.baselines import Baseline
from springtide.plugins.contracts.context_weights import ContextWeight, Factor
from springtide.plugins.contracts.model_parts import Encoder, Loss, LossInputs, NegativeSampler, Schema, Task, TaskGraph
from springtide.plugins.edges import NUM_EDGE_FEATURES, EdgeAggregation, Edges

MakePart = Callable[[str, str], Any]
"""Makes another part by its kind and its name: ``make("aggregator", "mean")``."""

AggregatorFactory = Callable[..., Aggregation]  # (width?, make?, **options)
EncoderFactory = Callable[..., Encoder]  # (width, num_layers, aggregator, schema?, **options)
LossFactory = Callable[..., Loss]  # (**options)
NegativeSamplerFactory = Callable[..., NegativeSampler]  # (**options)
TaskFactory = Callable[..., Task]  # (make?, **options)
ContextWeightFactory = Callable[..., ContextWeight]  # (**options)
BaselineFactory = Callable[..., Baseline]  # (**options)
DecoderFactory = Callable[..., EventDecoder]  # (**options)

__all__ = [
    "NUM_EDGE_FEATURES",
    "AggregatorFactory",
    "Baseline",
    "BaselineFactory",
    "Circumstances",
    "ContextWeight",
    "ContextWeightFactory",
    "DecoderFactory",
    "EdgeAggregation",
    "Edges",
    "Encoder",
    "EncoderFactory",
    "EventDecoder",
    "Factor",
    "History",
    "ItemGroups",
    "Loss",
    "LossFactory",
    "LossInputs",
    "MakePart",
    "Moment",
    "NegativeSampler",
    "NegativeSamplerFactory",
    "Observed",
    "RawEvent",
    "Schema",
    "Task",
    "TaskFactory",
    "TaskGraph",
]
