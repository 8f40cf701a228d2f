"""Events: the model, decoding from bytes to columns, and the refusal of bad events.

Begin with `model` (what an event is) and `decoding` (from records to batches). Events know the settings, and nothing of
the graph.
"""

from springtide.events.model import EventBatch, Interactions, NodeDelete, NodeUpsert, Relation
from springtide.events.raw import RawEvent, Refusal
from springtide.events.record_decoders import EventDecoder
from springtide.settings.interaction_rules import InteractionRule, InteractionRules

__all__ = [
    "EventBatch",
    "EventDecoder",
    "InteractionRule",
    "InteractionRules",
    "Interactions",
    "NodeDelete",
    "NodeUpsert",
    "RawEvent",
    "Refusal",
    "Relation",
]
