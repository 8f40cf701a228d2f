"""The circumstances that are kept with edges."""

import numpy as np

from springtide.graph.circumstances import CircumstanceTable
from springtide.graph.nodes import NodeTable


def test_maps_that_events_share_count_as_maps_of_their_own() -> None:
    bern, basel = {"place": "Bern"}, {"place": "Basel", "weather": "rain"}
    contexts = [bern, {}, basel, bern, basel]
    values, rows, users = np.full(5, np.nan, np.float32), np.zeros(5, np.int32), NodeTable("user")
    shared, own = CircumstanceTable(["place", "weather"]), CircumstanceTable(["place", "weather"])

    features = shared.features(values, contexts, rows, users)

    assert features is not None
    np.testing.assert_array_equal(features[:, 1], [0, np.nan, 1, 0, 1])
    np.testing.assert_array_equal(features[:, 2], [np.nan, np.nan, 0, np.nan, 0])
    np.testing.assert_array_equal(features, own.features(values, [dict(each) for each in contexts], rows, users))
    assert shared.snapshot() == own.snapshot()
