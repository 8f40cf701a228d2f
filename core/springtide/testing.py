"""For tests and plugin authors: conformance checks, and small data, states and models with known answers."""

from springtide.conformance import (
    check_aggregator,
    check_baseline,
    check_context_weight,
    check_decoder,
    check_encoder,
    check_index,
    check_loss,
    check_negative_sampler,
    check_task,
)
from springtide.state_content import state_content
from springtide.toy_data import (
    QUICK,
    START_MS,
    even_odd_events,
    even_odd_state,
    history_of,
    interactions_of,
    loss_inputs_of,
    observed_of,
    quick_model,
    quick_settings,
    state_of,
    training_graph_of,
)

__all__ = [
    "QUICK",
    "START_MS",
    "check_aggregator",
    "check_baseline",
    "check_context_weight",
    "check_decoder",
    "check_encoder",
    "check_index",
    "check_loss",
    "check_negative_sampler",
    "check_task",
    "even_odd_events",
    "even_odd_state",
    "history_of",
    "interactions_of",
    "loss_inputs_of",
    "observed_of",
    "quick_model",
    "quick_settings",
    "state_content",
    "state_of",
    "training_graph_of",
]
