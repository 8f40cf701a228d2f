"""From a city to errors: of a network over its roads, and of a rule that looks at no neighbours."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from springtide.model.artifact import make_encoder
from springtide.plugins.contracts import Edges, Observed, Schema
from springtide.plugins.loading import Plugins
from springtide.settings.model import ModelSettings, PartSettings
from springtide.training.graph import Nodes, TrainingGraph
from springtide.training.homogeneous import homogeneous_graph
from springtide.training.network import Inputs, Network
from springtide.training.tasks import TaskTraining, learn
from springtide_travel_time.roads import LEADS_TO, City, Floats, graph_of
from springtide_travel_time.task import TravelTime

_NO_ROWS = np.zeros(0, np.int32)
_NO_INTERACTIONS = Observed(_NO_ROWS, _NO_ROWS, np.zeros(0, np.int64), np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True)
class Errors:
    """How far predicted times are from the true ones, where none was measured.

    Attributes:
        segment: Mean over segments of the absolute error as a share of the true time.
        route: The same over routes.
    """

    segment: float
    route: float


def errors_by_road_class(city: City) -> Errors:
    """Return the errors of the time at the speed limit times the mean slowdown of the road class.

    Means are over what was measured; a route is the sum of its segments, times what such sums lack on average.
    """
    slowdown, road_class = city.travel_time_s / city.free_flow_s, np.array(city.road_class)
    found = city.free_flow_s.copy()
    for name in set(city.road_class):
        is_of_class = road_class == name
        found[is_of_class] *= slowdown[is_of_class & city.is_measured].mean()
    sums = np.array([found[route].sum() for route in city.routes])
    return _errors(city, found, sums * (city.route_time_s / sums)[city.is_driven].mean())


def errors_of_network(
    city: City, model: ModelSettings, plugins: Plugins, training: TaskTraining, *, is_linked: bool = True
) -> Errors:
    """Train a network on the city and return its errors.

    Args:
        city: What is measured of it is learned from.
        model: The encoder, its aggregator and their sizes.
        plugins: They offer the task ``travel_time`` beside the encoder.
        training: How it is learned; nothing needs to be held out, since not all was measured.
        is_linked: Whether segments lead to each other, or each is alone: to see what the graph is good for.
    """
    task = plugins.make("task", PartSettings(name="travel_time"), width=model.width)
    assert isinstance(task, TravelTime), "the task of this distribution"
    view = graph_of(city).view()
    torch.manual_seed(training.seed)
    if make_encoder(model, Schema(), plugins).is_relational:
        nodes = Nodes.of(view, is_relational=True, labels=task.labels)
        graph = TrainingGraph.build(nodes, _NO_INTERACTIONS)
    else:
        graph = homogeneous_graph(view, LEADS_TO, task.labels)
    if not is_linked:
        graph = replace(graph, edges=_without_edges(graph.edges))
    network = Network(Inputs(graph.nodes, model.width, model.id_dropout), make_encoder(model, graph.schema, plugins))
    task.prepare(graph, model.width)
    predictions = learn(graph, network, task, training)
    with torch.no_grad():
        vectors = network.encoder.readout(network.levels(graph.edges))
        segment_s = task.segment_times(vectors).numpy().astype(np.float64)
    route_s = city.route_time_s.copy()
    for row, time_s in predictions.labels.items():
        route_s[row] = float(time_s)
    return _errors(city, segment_s, route_s)


def _without_edges(edges: Edges) -> Edges:
    no_rows, nothing, no_degrees = edges.source[:0], edges.weight[:0], torch.zeros_like(edges.source_degree)
    relation = None if edges.relation is None else no_rows
    types = (edges.source_type, edges.target_type)
    return Edges(no_rows, no_rows, nothing, nothing, no_degrees, no_degrees, relation, *types)


def _errors(city: City, segment_s: Floats, route_s: Floats) -> Errors:
    return Errors(
        _mean_share(segment_s, city.travel_time_s, ~city.is_measured),
        _mean_share(route_s, city.route_time_s, ~city.is_driven),
    )


def _mean_share(found: Floats, wanted: Floats, chosen: npt.NDArray[np.bool_]) -> float:
    return float(np.abs(found[chosen] / wanted[chosen] - 1.0).mean())
