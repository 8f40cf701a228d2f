"""The graph that a training reads: edges, attribute values and ratings."""

import dataclasses

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY
from springtide.events.model import EventBatch, NodeUpsert
from springtide.model.attributes import Attributes
from springtide.testing import (
    interactions_of,
    state_of,
    training_graph_of,
)
from springtide.training.message_edges import Ratings


def test_interactions_add_up_to_edges_in_both_directions():
    events = [("u0", "i1", 0), ("u1", "i0", MS_PER_DAY), ("u0", "i1", 2 * MS_PER_DAY)]
    graph = training_graph_of(state_of(events, upserts=[NodeUpsert("item", "i0"), NodeUpsert("item", "i1")]))
    # Users are nodes 0 and 1, items 2 and 3. User 0 had item 1 twice: log(1 + 2).
    assert graph.edges.target.tolist() == [0, 1, 2, 3]
    assert graph.edges.source.tolist() == [3, 2, 1, 0]
    assert graph.edges.weight.tolist() == pytest.approx(np.log([3, 2, 2, 3]).tolist())
    assert graph.edges.age_days.tolist() == [0.0, 1.0, 1.0, 0.0]
    assert graph.edges.target_degree.tolist() == pytest.approx(np.log([3, 2, 2, 3]).tolist())
    assert graph.strengths.tolist() == pytest.approx(np.log([3, 2, 3]).tolist()), "of the edge each adds up to"


def test_old_interactions_fade():
    graph = training_graph_of(state_of([("u0", "i0", 0), ("u0", "i1", 10 * MS_PER_DAY)]), half_life_days=10.0)
    assert graph.edges.weight[graph.edges.target == 0].tolist() == pytest.approx(np.log([1.5, 2.0]).tolist())


def test_edges_of_one_target_come_oldest_first():
    graph = training_graph_of(state_of([("u0", "i1", 0), ("u1", "i0", MS_PER_DAY), ("u0", "i0", 2 * MS_PER_DAY)]))
    assert graph.edges.source[graph.edges.target == 0].tolist() == [2, 3], "i1 (node 2) was taken before i0"
    assert graph.edges.age_days[graph.edges.target == 0].tolist() == [2.0, 0.0]


def test_attributes_are_values_that_add_up_to_one_for_each_node():
    upserts = [
        NodeUpsert("item", "i0", categories={"brand": ("a",), "kind": ("x", "y")}),
        NodeUpsert("item", "i1"),
        NodeUpsert("item", "i2", categories={"kind": ("y",)}),
    ]
    nodes = state_of(upserts=upserts).graph.nodes("item")
    attributes = Attributes.of(nodes, 3)
    links = attributes.links(len(attributes.vocabulary))
    assert sorted(attributes.vocabulary) == ["brand=a", "kind=x", "kind=y"]
    assert links.node_rows.tolist() == [0, 0, 0, 2]
    assert links.weight.tolist() == pytest.approx([1 / 3] * 3 + [1.0])
    assert Attributes.of(nodes, 3, known=["kind=y"]).vocabulary[0] == "kind=y", "a value that was known lost its code"


def test_ratings_are_read_from_the_rating_types():
    state = state_of([(f"u{row % 4}", f"i{row % 5}", row) for row in range(40)])
    rated = interactions_of([("u0", "i1", 100), ("u1", "i2", 101), ("u2", "i3", 102)], "rating")
    state.apply(EventBatch(dataclasses.replace(rated, values=np.array([1.0, 5.0, 3.0], np.float32))))
    counted = interactions_of([("u0", "i1", 103)])
    state.apply(EventBatch(dataclasses.replace(counted, values=np.array([7.0], np.float32))))
    ratings = Ratings.of(state.graph.view(), [("user", "rating", "item")], None)
    assert ratings.ratings.tolist() == [-1.0, 1.0, 0.0], "the quantity of a purchase is no rating"
    assert ratings.item_rows.tolist() == [1, 2, 3]
    assert len(Ratings.of(state.graph.view(), [("user", "rating", "item")], 101).ratings) == 0, (
        "a single value has no scale"
    )
