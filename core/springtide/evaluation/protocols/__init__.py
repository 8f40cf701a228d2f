"""How a model is evaluated: once, block after block, or event by event.

The names below are imported when they are first used: a training, whose gate replays events, waits for nothing else.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from springtide.evaluation.protocols.cold_start import ColdStart
    from springtide.evaluation.protocols.contestants import Contestant
    from springtide.evaluation.protocols.fine_tuning import BlockResult, compare_fine_tuning
    from springtide.evaluation.protocols.months import MonthResults, measure_months
    from springtide.evaluation.protocols.past_states import state_of_past
    from springtide.evaluation.protocols.prequential import FROZEN, NUM_QUESTIONS, Prequential
    from springtide.evaluation.protocols.replay import ReplayResult
    from springtide.evaluation.protocols.train_test import TrainTestProtocol

_MODULES = {
    "FROZEN": "prequential",
    "NUM_QUESTIONS": "prequential",
    "BlockResult": "fine_tuning",
    "ColdStart": "cold_start",
    "Contestant": "contestants",
    "MonthResults": "months",
    "Prequential": "prequential",
    "ReplayResult": "replay",
    "TrainTestProtocol": "train_test",
    "compare_fine_tuning": "fine_tuning",
    "measure_months": "months",
    "state_of_past": "past_states",
}

__all__ = [
    "FROZEN",
    "NUM_QUESTIONS",
    "BlockResult",
    "ColdStart",
    "Contestant",
    "MonthResults",
    "Prequential",
    "ReplayResult",
    "TrainTestProtocol",
    "compare_fine_tuning",
    "measure_months",
    "state_of_past",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
