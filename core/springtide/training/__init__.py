"""From a live state to a model: retraining, fine-tuning, refits of the exponents, and tasks learned on their own.

``train`` makes a model: it runs the ``loop`` on a ``graph``, ``sampling`` draws what each step looks at, and the
``exponents`` of the ranking are fitted. The room may import ranking and everything below it.
"""

from springtide.training.artifact import fits_settings
from springtide.training.exponents.refit import refit_exponents
from springtide.training.graph import Nodes, TrainingGraph
from springtide.training.homogeneous import homogeneous_graph
from springtide.training.labelled_task import GraphTask, LabelledTask
from springtide.training.loop import OnProgress, Progress
from springtide.training.network import Inputs, Network
from springtide.training.tasks import Predictions, TaskTraining, classify_graphs, classify_nodes, learn, regress_nodes
from springtide.training.train import train

__all__ = [
    "GraphTask",
    "Inputs",
    "LabelledTask",
    "Network",
    "Nodes",
    "OnProgress",
    "Predictions",
    "Progress",
    "TaskTraining",
    "TrainingGraph",
    "classify_graphs",
    "classify_nodes",
    "fits_settings",
    "homogeneous_graph",
    "learn",
    "refit_exponents",
    "regress_nodes",
    "train",
]
