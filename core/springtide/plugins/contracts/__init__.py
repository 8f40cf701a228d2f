"""The contracts of parts: what a part of each kind must do, built in or from a plugin.

What needs torch is imported at its first use: a server that uses none of it never imports torch.
"""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from springtide.events.raw import RawEvent
from springtide.events.record_decoders import EventDecoder
from springtide.interactions import Circumstances, History, ItemGroups, Moment, Observed
from springtide.plugins.contracts.baselines import Baseline
from springtide.plugins.contracts.context_weights import ContextWeight, Factor, RelatedItems
from springtide.plugins.contracts.indexes import Index
from springtide.plugins.contracts.rerankers import Reranker, Shortlist, ShortlistAttributes
from springtide.plugins.contracts.schema import Schema

if TYPE_CHECKING:
    from torch_geometric.nn import Aggregation

    from springtide.plugins.contracts.model_parts import Encoder, Loss, LossInputs, NegativeSampler, Task, TaskGraph
    from springtide.plugins.edges import NUM_EDGE_FEATURES, EdgeAggregation, Edges

_MODULES = {  # Of the names that are imported at their first use.
    "NUM_EDGE_FEATURES": "springtide.plugins.edges",
    "EdgeAggregation": "springtide.plugins.edges",
    "Edges": "springtide.plugins.edges",
    "Encoder": "springtide.plugins.contracts.model_parts",
    "Loss": "springtide.plugins.contracts.model_parts",
    "LossInputs": "springtide.plugins.contracts.model_parts",
    "NegativeSampler": "springtide.plugins.contracts.model_parts",
    "Task": "springtide.plugins.contracts.model_parts",
    "TaskGraph": "springtide.plugins.contracts.model_parts",
}

MakePart = Callable[[str, str], Any]
"""Makes another part by its kind and its name: ``make("aggregator", "mean")``."""

# The names in quotes are those that need torch.
AggregatorFactory = Callable[..., "Aggregation"]  # (width?, make?, **options)
EncoderFactory = Callable[..., "Encoder"]  # (width, num_layers, aggregator, schema?, **options)
LossFactory = Callable[..., "Loss"]  # (**options)
NegativeSamplerFactory = Callable[..., "NegativeSampler"]  # (**options)
TaskFactory = Callable[..., "Task"]  # (make?, **options)
ContextWeightFactory = Callable[..., ContextWeight]  # (**options)
BaselineFactory = Callable[..., Baseline]  # (**options)
DecoderFactory = Callable[..., EventDecoder]  # (**options)
IndexFactory = Callable[..., Index]  # (**options)
RerankerFactory = Callable[..., Reranker]  # (**options)

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
    "Index",
    "IndexFactory",
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
    "RelatedItems",
    "Reranker",
    "RerankerFactory",
    "Schema",
    "Shortlist",
    "ShortlistAttributes",
    "Task",
    "TaskFactory",
    "TaskGraph",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
