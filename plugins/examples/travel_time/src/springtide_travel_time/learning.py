"""Errors of predicted travel times: of a network over the roads, and of a rule without neighbours."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from springtide.model.artifact import make_encoder
from springtide.plugins.contracts import Edges, Observed, Schema
from springtide.plugins.loading import Plugins
from springtide.settings.model import ModelSettings, PartSettings
from springtide.training import Inputs, Network, Nodes, TaskTraining, TrainingGraph, homogeneous_graph, learn
from springtide_travel_time.roads import LEADS_TO, City, Floats, graph_of
from springtide_travel_time.task import TravelTime

_NO_ROWS = np.zeros(0, np.int32)
_NO_INTERACTIONS = Observed(_NO_ROWS, _NO_ROWS, np.zeros(0, np.int64), np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True)
class Errors:
    """Errors of predicted times where none was measured.

    Attributes:
        segment: Mean absolute error over segments, relative to the true time.
        route: The same over routes.
    """

    segment: float
    route: float


def errors_by_road_class(city: City) -> Errors:
    """Return the errors of a rule: the time at the speed limit times the mean slowdown of the road class.

    Means are over measured segments. The time of a route is the sum over its segments, times the mean ratio between the
    measured times of routes and such sums.
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
        city: The city; its measured times are the labels.
        model: Encoder, aggregator and sizes.
        plugins: Plugins that offer the encoder and the task ``travel_time``.
        training: How the task is learned; nothing needs to be held out, since not all times were measured.
        is_linked: Whether to use the edges between segments; without them, the gain from the graph can be measured.
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
