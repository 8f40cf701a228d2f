"""The task: by hand, and learned on a small city."""

import numpy as np
import pytest
import torch

from springtide.errors import TrainingError
from springtide.graph.live import LiveGraph
from springtide.training.homogeneous import homogeneous_graph
from springtide.training.tasks import TaskTraining
from springtide_travel_time.learning import errors_by_road_class, errors_of_network
from springtide_travel_time.roads import LEADS_TO, City, graph_of, make_city
from springtide_travel_time.task import TravelTime

TWO = np.array([[0, 1], [1, 2]])


def two_segments(**others) -> City:
    """Segment 0 takes 10 s at its limit of 36 km/h, segment 1 takes 20 s; the one route passes both."""
    values = {
        "ends": TWO,
        "road_class": ("main", "main"),
        "length_m": np.array([100.0, 200.0]),
        "speed_limit_kmh": np.array([36.0, 36.0]),
        "vehicles_per_h": np.ones(2),
        "travel_time_s": np.array([15.0, 40.0]),
        "leads_to": np.array([[0, 1]]),
        "routes": (np.array([0, 1]),),
        "route_time_s": np.array([60.0]),
        "is_measured": np.array([True, False]),
        "is_driven": np.array([True]),
    }
    return City(**{**values, **others})


def prepared(city: City, **options) -> TravelTime:
    task = TravelTime(**options)
    task.prepare(homogeneous_graph(graph_of(city).view(), LEADS_TO, task.labels), 2)
    # Softplus of its inverse: the vectors say the slowdown, and the wait as a share of the mean time of 15 s.
    task.head = torch.nn.Identity()
    return task


VECTORS = torch.tensor([[2.0, 0.2], [1.5, 9.0]]).expm1().log()


def test_a_route_takes_its_segments_and_the_waits_between_them():
    task = prepared(two_segments())
    assert task.nodes_of(np.array([0])).tolist() == [0, 1]
    # 10 · 2 + 20 · 1.5, and 0.2 · 15 between them; after the last segment nobody waits.
    assert task.predict(VECTORS, np.array([0])) == pytest.approx([53.0])
    assert task.segment_times(VECTORS).tolist() == pytest.approx([20.0, 30.0])


def test_the_loss_is_hubers_of_routes_and_of_measured_segments():
    task = prepared(two_segments(), segment_weight=2.0, huber_delta=0.25)
    # The route is 7 s short of 60, of 30 at the limit: below 0.25, so half the square. The measured segment is 5 s
    # over 15, of 10 at the limit: 0.25 · (0.5 − 0.25 / 2). The other was not measured.
    expected = (7 / 30) ** 2 / 2 + 2.0 * 0.25 * (0.5 - 0.125)
    assert float(task.loss(VECTORS, np.array([0]))) == pytest.approx(expected)


def test_routes_alone_are_learned_from_where_no_segment_is_measured():
    task = prepared(two_segments(is_measured=np.array([False, False])))
    assert float(task.loss(VECTORS, np.array([0]))) == pytest.approx((7 / 30) ** 2 / 2)


def test_labels_are_times_of_both_kinds():
    assert TravelTime().labels == [("segment", "travel_time_s"), ("route", "travel_time_s")]


def test_a_city_without_route_times_is_refused():
    with pytest.raises(TrainingError, match="on some nodes of type 'route', got none"):
        prepared(two_segments(is_driven=np.array([False])))


def test_a_segment_without_a_length_is_refused():
    graph = graph_of(two_segments())
    graph.nodes("segment").ids.intern(["s2"])
    with pytest.raises(TrainingError, match="length_m and a speed_limit_kmh above 0 of every segment"):
        TravelTime().prepare(homogeneous_graph(graph.view(), LEADS_TO), 2)


def test_a_graph_of_something_else_is_refused():
    graph = homogeneous_graph(LiveGraph().view(), ("user", "follows", "user"))
    with pytest.raises(TrainingError, match="wanted nodes of type 'segment', got those of user"):
        TravelTime().prepare(graph, 2)


def test_the_rule_of_road_classes_is_exact_where_all_segments_are_alike():
    # Both take twice their time at the limit, and what the route waits is what all routes wait.
    city = two_segments(
        travel_time_s=np.array([20.0, 40.0]),
        routes=(np.array([0, 1]),) * 2,
        route_time_s=np.array([66.0, 66.0]),
        is_driven=np.array([True, False]),
    )
    errors = errors_by_road_class(city)
    assert (errors.segment, errors.route) == pytest.approx((0.0, 0.0))


@pytest.mark.parametrize("encoder", ["graphsage", "lightgcn", "hetero"])
def test_the_graph_tells_times_that_were_not_measured(encoder, plugins, model_of):
    city, training = make_city(size=8, num_routes=150, seed=3), TaskTraining(steps=120, batch=64, held_out=0.0)
    by_rule = errors_by_road_class(city)
    alone = errors_of_network(city, model_of(encoder), plugins, training, is_linked=False)
    linked = errors_of_network(city, model_of(encoder), plugins, training)
    assert linked.segment < 0.8 * alone.segment < 0.8 * by_rule.segment
    assert linked.route < 0.5 * by_rule.route
