"""The city is what its description says."""

import numpy as np

from springtide_travel_time.roads import LEADS_TO, PASSES, ROUTE, SEGMENT, TRAVEL_TIME, graph_of, make_city

CITY = make_city(size=4, num_routes=20, seed=1)


def test_streets_run_both_ways_between_neighbouring_junctions():
    # 4 streets of 3 stretches in each direction, both ways.
    assert len(CITY.ends) == 2 * 2 * 4 * 3
    assert {(other, one) for one, other in CITY.ends.tolist()} == {(one, other) for one, other in CITY.ends.tolist()}


def test_turns_lead_on_and_not_back():
    for before, after in CITY.leads_to.tolist():
        assert CITY.ends[before, 1] == CITY.ends[after, 0]
        assert CITY.ends[before, 0] != CITY.ends[after, 1]
    # From a corner's neighbour on the edge, a car out of the corner can drive on straight or turn off.
    out_of_the_corner = CITY.ends.tolist().index([0, 1])
    assert sorted(CITY.ends[CITY.leads_to[CITY.leads_to[:, 0] == out_of_the_corner, 1], 1].tolist()) == [2, 5]


def test_routes_are_connected_and_take_longer_than_their_segments():
    turns = set(map(tuple, CITY.leads_to.tolist()))
    for route, time_s in zip(CITY.routes, CITY.route_time_s, strict=True):
        assert len(route) >= 2
        assert set(zip(route[:-1].tolist(), route[1:].tolist(), strict=True)) <= turns
        assert time_s > CITY.travel_time_s[route].sum() + 3.0 * (len(route) - 1) - 1e-9


def test_nobody_is_faster_than_the_limit():
    assert (CITY.travel_time_s > CITY.free_flow_s).all()


def test_the_graph_holds_what_was_measured_and_no_more():
    view = graph_of(CITY).view()
    assert len(view.edges(LEADS_TO)) == len(CITY.leads_to)
    assert len(view.edges(PASSES)) == sum(map(len, CITY.routes))
    for node_type, is_known, time_s in (
        (SEGMENT, CITY.is_measured, CITY.travel_time_s),
        (ROUTE, CITY.is_driven, CITY.route_time_s),
    ):
        held = view.nodes(node_type).numbers[TRAVEL_TIME]
        np.testing.assert_array_equal(np.isfinite(held), is_known)
        np.testing.assert_allclose(held[is_known], time_s[is_known], rtol=1e-6)


def test_the_same_seed_makes_the_same_city():
    again = make_city(size=4, num_routes=20, seed=1)
    np.testing.assert_array_equal(again.route_time_s, CITY.route_time_s)
