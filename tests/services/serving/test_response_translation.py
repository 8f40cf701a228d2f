"""Rankings as responses: what is told of them."""

import numpy as np
import pytest

from springtide.clock import AsOf
from springtide.ranking.query import RankedItems, Ranking
from springtide.v1 import recommender_pb2 as pb
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
