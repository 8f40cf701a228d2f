"""Rankings as responses: what is told of them."""

import numpy as np
import pytest

from springtide.clock import AsOf
from springtide.events.model import NodeUpsert
from springtide.graph.nodes import NodeTable
from springtide.ranking.attribute_values import attributes_of
from springtide.ranking.query import RankedItems, Ranking
from springtide.v1 import recommender_pb2 as pb
from springtide_services.cli.answer_tables import attribute_words
from springtide_services.serving import response_translation


def test_a_ranking_becomes_a_response() -> None:
    ranking = Ranking(
        items=RankedItems(
            ("a", "b"),
            *np.array([[2.5, 1.0], [0.5, 0.25]], np.float32),
            ("trend",),
            np.array([[1.5], [1.0]], np.float32),
        ),
        personalization="folded_in",
        model_version="000003",
    )
    position = response_translation.to_position({0: 5, 1: 0})
    answer = response_translation.to_response(ranking, position, AsOf(7, "stream"), is_behind=True)
    response = pb.RecommendResponse.FromString(answer)
    assert response.weight_names == ["trend"]
    assert [(item.item, item.score, item.cosine, list(item.weights)) for item in response.items] == [
        ("a", 2.5, 0.5, [1.5]),
        ("b", 1.0, 0.25, [1.0]),
    ]
    assert response.personalization == pb.PERSONALIZATION_FOLDED_IN
    assert response.model_version == "000003"
    assert dict(response.position.next_offsets) == {0: 5, 1: 0}
    assert response.is_behind_min_position
    assert (response.as_of_ms, response.as_of_source) == (7, pb.MOMENT_SOURCE_STREAM)


@pytest.mark.parametrize("timestamp_ms", [0, 1_700_000_000_123, -1_500])
def test_a_timestamp_keeps_its_milliseconds(timestamp_ms: int) -> None:
    timestamp = response_translation.to_timestamp(timestamp_ms)
    assert timestamp.seconds * 1_000 + timestamp.nanos // 1_000_000 == timestamp_ms
    assert 0 <= timestamp.nanos < 1_000_000_000


def test_values_of_attributes_are_told_apart() -> None:
    nodes = NodeTable("item")
    upsert = NodeUpsert("item", "a", {"tag": ("x", "y")}, {"price": 2.0}, {"title": "A"}, 0, {"image": (0.5, -1.0)})
    rows = np.array([nodes.upsert(upsert)], np.int32)
    (of_item,) = attributes_of(nodes, rows, ("tag", "price", "title", "image"))
    values = {name: response_translation.to_attribute_value(value) for name, value in of_item.items()}
    assert list(values["tag"].categories) == ["x", "y"]
    assert (values["price"].number, values["title"].text) == (2.0, "A")
    assert list(values["image"].vector) == [0.5, -1.0]
    words = [attribute_words(value) for value in values.values()]
    assert words == ["x, y", "2", "A", "[0.5, -1]"]
    assert attribute_words(pb.AttributeValue(vector=range(6))) == "[0, 1, 2, 3, … of 6]"
