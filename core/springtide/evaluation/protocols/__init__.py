"""How a model is evaluated: once, block after block, or event by event."""

from springtide.evaluation.protocols.contestants import Contestant
from springtide.evaluation.protocols.fine_tuning import BlockResult, compare_fine_tuning
from springtide.evaluation.protocols.months import MonthResults, measure_months
from springtide.evaluation.protocols.past_states import state_of_past
from springtide.evaluation.protocols.prequential import FROZEN, NUM_QUESTIONS, Prequential
from springtide.evaluation.protocols.replay import ReplayResult
from springtide.evaluation.protocols.train_test import TrainTestProtocol

__all__ = [
    "FROZEN",
    "NUM_QUESTIONS",
    "BlockResult",
    "Contestant",
    "MonthResults",
    "Prequential",
    "ReplayResult",
    "TrainTestProtocol",
    "compare_fine_tuning",
    "measure_months",
    "state_of_past",
]
