"""A baseline's answers, and those of the fallback, are steered as those of a model are, but for vectors."""

import collections
import dataclasses

import pytest
from tests.core.ranking.reordering.conftest import NOW, SIZE

from springtide.events.model import EventBatch
from springtide.plugins.loading import load_plugins
from springtide.ranking.baseline_artifact import baseline_artifact
from springtide.ranking.reordering import exploration
from springtide.ranking.serving_baseline import load_served
from springtide.settings.model import PartSettings
from springtide.steering.values import Rule, Steering
from springtide.testing import interactions_of

PINS = Steering(rules=(Rule("promo", "pin", ("i1",), slot=2), Rule("gone", "block", ("i0", "i2"))))


@pytest.fixture(params=["baseline", "fallback"])
def asked(ask, settings, request):
    """Asks what a baseline, or the fallback, ranks."""
    if request.param == "fallback":
        ask.ranker.swap(None)
        return ask
    plugins, view = load_plugins(), ask.state.graph.view()
    observed = ask.state.positive_interactions(view)
    baseline = plugins.make("baseline", PartSettings(name="popularity"))
    baseline.fit(observed, view.num_nodes("user"), view.num_nodes("item"))
    artifact = baseline_artifact("popularity", {}, baseline, view, observed, settings, plugins)
    ask.ranker.swap(load_served(artifact, plugins))
    assert ask.ranker.scorer().serving.baseline is not None
    return ask


def brands(ids):
    return collections.Counter(4 if int(item[1:]) % 2 else int(item[1:]) // 2 % 4 for item in ids)


def test_diversity_by_vectors_changes_nothing_and_by_an_attribute_it_does(asked):
    assert asked.ids(diversity=1.0) == asked.ids()
    assert set(brands(asked.ids(diversity=1.0, diversity_attribute="brand")).values()) == {2}


def test_bounds_pins_and_blocks_hold(asked):
    ranking = asked(max_per=(("brand", 2),), count=8, steering=PINS)
    assert ranking.items.ids[1] == "i1"
    assert ranking.extras.placed_by[1] == "rule promo"
    assert max(brands(ranking.items.ids).values()) == 2
    assert not {"i0", "i2"} & set(asked.ids(count=48, steering=PINS, exploration=0.5))


def test_pages_have_every_item_once(asked):
    items, token = [], "first"
    while token:
        ranking = asked(page_token=token, count=11, diversity=0.4, diversity_attribute="brand")
        items += ranking.items.ids
        token = ranking.extras.next_page_token
    assert sorted(items) == sorted(f"i{item}" for item in range(SIZE))


def test_a_share_is_explored(asked):
    explored = set()
    for number in range(40):
        moment = dataclasses.replace(NOW, timestamp_ms=NOW.timestamp_ms + number * exploration.BUCKET_MS)
        ranking = asked(exploration=0.5, moment=moment)
        assert len(set(ranking.items.ids)) == 10
        explored |= {i for i, by in zip(ranking.items.ids, ranking.extras.placed_by, strict=True) if by}
    assert len(explored) > 20


def test_what_was_shown_sinks(asked):
    first = asked.ids(count=3)
    shown = [("u0", item, NOW.timestamp_ms - 5) for item in first]
    asked.state.apply(EventBatch(interactions_of(shown, "impression")))
    assert asked.ids(count=3, rotation_rate=0.9) != first
    assert not set(first) & set(asked.ids(count=3, rotation_rate=1.0))
