"""The map of items: who is on it, who is near, and where an item lies that was not laid out."""

import numpy as np
import pytest

from springtide.errors import InvalidRequestError
from springtide.events.model import EventBatch, NodeDelete, NodeUpsert
from springtide.explaining.plane import placed_between
from springtide.inspecting.item_map import item_map, lay_out
from springtide.inspecting.summaries import Inspected
from springtide.plugins.loading import load_plugins
from springtide.ranking.item_table import ItemTable
from springtide.ranking.serving_model import ServingModel
from springtide.testing import even_odd_state, interactions_of, quick_model, quick_settings

SIZE = 24


@pytest.fixture(scope="module")
def world():
    state = even_odd_state(SIZE, quick_settings())
    kinds = [NodeUpsert("item", f"i{row}", {"kind": ["odd" if row % 2 else "even"]}) for row in range(SIZE)]
    state.apply(EventBatch(interactions_of(()), upserts=kinds))
    return state, ServingModel.from_artifact(quick_model(state), load_plugins())


def parts_of(world):
    state, model = world
    view = state.graph.view()
    return ItemTable.build(model, view, state.rules), Inspected(view, "item")


def test_neighbours_beyond_the_layout_are_placed_near_their_own_kind(world) -> None:
    table, inspected = parts_of(world)
    layout = lay_out(table, inspected, 12)
    outside = next(f"i{row}" for row in range(SIZE) if f"i{row}" not in layout.ids)

    found = item_map(layout, table, inspected, "kind", outside, 5)

    assert list(found.ids[:12]) == list(layout.ids), "what was laid out stays where it is"
    assert found.ids[found.marked[0]] == outside
    assert len({found.groups[at] for at in found.marked}) == 1
    assert len(found.marked) == len(found.cosines) == 6
    of_kind = np.array([group == found.groups[found.marked[0]] for group in found.groups[:12]])
    distances = np.linalg.norm(found.plane[:12] - found.plane[found.marked[0]], axis=1)
    assert of_kind[distances.argmin()]


def test_what_is_not_laid_out_apart_lies_between_what_is(world) -> None:
    table, inspected = parts_of(world)

    layout = lay_out(table, inspected, SIZE, most_apart=12)

    assert len(layout.plane) == SIZE
    low, high = layout.plane[:12].min(axis=0), layout.plane[:12].max(axis=0)
    assert ((layout.plane >= low - 1e-9) & (layout.plane <= high + 1e-9)).all()


def test_an_item_that_is_gone_since_is_not_on_the_map(world) -> None:
    state, _ = world
    table, inspected = parts_of(world)
    layout = lay_out(table, inspected, SIZE)
    state.apply(EventBatch(interactions_of(()), deletes=[NodeDelete("item", "i7", 2**50)]))

    found = item_map(layout, table, Inspected(state.graph.view(), "item"), near="i9", num_near=SIZE)

    assert "i7" not in found.ids
    assert len(found.ids) == SIZE - 1


def test_an_unknown_attribute_or_item_is_refused(world) -> None:
    table, inspected = parts_of(world)
    layout = lay_out(table, inspected, 12)
    with pytest.raises(InvalidRequestError, match=r"color_by: no category attribute 'x' \(choices: kind\)"):
        item_map(layout, table, inspected, "x")
    with pytest.raises(InvalidRequestError, match="near: no item with the id 'x'"):
        item_map(layout, table, inspected, near="x")


def test_a_point_that_is_one_of_the_known_lies_there() -> None:
    known = np.eye(3, dtype=np.float32)
    plane = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])

    found = placed_between(known[1:2], known, plane)

    assert found[0] == pytest.approx([1.0, 0.0], abs=1e-5)
    assert placed_between(known, known[:0], plane[:0]).tolist() == [[0.0, 0.0]] * 3
