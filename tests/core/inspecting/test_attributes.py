"""Attributes are listed with their kinds, how many nodes have them, and what is frequent."""

from dataclasses import replace

from springtide.events.model import EventBatch, NodeUpsert
from springtide.inspecting.attributes import AttributeSummary, attributes_of_nodes, circumstances_of_edges
from springtide.settings.model import Settings
from springtide.testing import START_MS, interactions_of, state_of


def test_attributes_of_nodes_come_with_their_most_frequent_values() -> None:
    kinds = [["tea"], ["tea", "gift"], ["mug"], ["tea"], ["mug"]]
    upserts = [
        NodeUpsert("item", f"i{row}", {"kind": kind}, {"price": 1.0} if row else {}, {}, START_MS)
        for row, kind in enumerate(kinds)
    ]
    upserts.append(NodeUpsert("user", "ann", texts={"name": "Ann"}, timestamp_ms=START_MS))

    assert attributes_of_nodes(state_of(upserts=upserts).graph.view()) == [
        AttributeSummary("item", "kind", "category", 5, ("tea", "mug", "gift")),
        AttributeSummary("item", "price", "number", 4),
        AttributeSummary("user", "name", "text", 1),
    ]


def test_circumstances_are_counted_among_interactions() -> None:
    state = state_of(settings=Settings.model_validate({"ranking": {"context_weights": {"place": {}, "weather": {}}}}))
    three = interactions_of([("ann", item, START_MS) for item in "abc"])
    contexts = [{"place": "Graz"}, {"place": "Linz", "weather": "rain"}, {"place": "Linz"}]
    state.apply(EventBatch(replace(three, contexts=contexts)))

    found = {each.name: list(each.values) for each in circumstances_of_edges(state.graph.view(), state.circumstances)}
    assert found == {"place": ["Linz", "Graz"], "weather": ["rain"], "temperature": []}
