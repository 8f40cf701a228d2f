"""A refresh folds in what has changed, and comes to the table that would be built anew."""

import numpy as np
import pytest

from springtide.clock import MS_PER_HOUR
from springtide.events.model import EventBatch, NodeDelete, NodeUpsert
from springtide.plugins.loading import load_plugins
from springtide.ranking.folded_items import ItemFolder
from springtide.ranking.item_table import ItemTable
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.testing import even_odd_events, interactions_of, quick_model, quick_settings, state_of

SIZE = 24
START_MS = even_odd_events(SIZE)[-1][2] + 1_000
PLUGINS = load_plugins()


def settings_of(encoder: str) -> Settings:
    model = {"width": 16, "encoder": encoder, "aggregator": "sum" if encoder == "lightgcn" else "mean"}
    return quick_settings(model=model)


def side_of(item_id: str, name: str, timestamp_ms: int = 0, price: float = 1.0) -> NodeUpsert:
    return NodeUpsert("item", item_id, {"side": (name,)}, {"price": price}, timestamp_ms=timestamp_ms)


def learned(encoder: str = "lightgcn") -> tuple[LiveState, ServingModel]:
    settings = settings_of(encoder)
    upserts = [side_of(f"i{number}", "odd" if number % 2 else "even", 0, number) for number in range(SIZE)]
    state = state_of(even_odd_events(SIZE), settings, upserts=upserts)
    return state, ServingModel.from_artifact(quick_model(state, settings), PLUGINS)


def take(state: LiveState, *pairs: tuple[str, str], at_ms: int = START_MS) -> None:
    state.apply(EventBatch(interactions_of([(user, item, at_ms) for user, item in pairs])))


def change(state: LiveState, *, upserts: tuple[NodeUpsert, ...] = (), deletes: tuple[NodeDelete, ...] = ()) -> None:
    state.apply(EventBatch(interactions_of([]), upserts=upserts, deletes=deletes))


def table_of(state: LiveState, model: ServingModel, former: ItemTable | None = None) -> ItemTable:
    return ItemTable.build(model, state.graph.view(), state.rules, former)


def assert_same(found: ItemTable, wanted: ItemTable, state: LiveState) -> None:
    assert found.model_rows.tolist() == wanted.model_rows.tolist()
    assert found.has_vector.tolist() == wanted.has_vector.tolist()
    assert found.folded.unknown.tolist() == wanted.folded.unknown.tolist()
    np.testing.assert_allclose(found.vectors, wanted.vectors, atol=1e-5)
    np.testing.assert_allclose(found.degree, wanted.degree, rtol=1e-5)
    rows = np.arange(found.num_items)
    for ours, theirs in zip(
        *(each.levels_of(state.graph.view(), "item", rows) for each in (found, wanted)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("encoder", ["lightgcn", "hetero"])
def test_refreshed_table_is_the_one_that_is_built_anew(encoder):
    state, model = learned(encoder)
    chance, table = np.random.default_rng(5), table_of(state, model)
    for step in range(60):
        at_ms = START_MS + 1_000 * step
        item, user = f"new {chance.integers(12)}", f"u{chance.integers(SIZE)}"
        kind = chance.integers(8)
        if kind < 4:
            take(state, (user, item), at_ms=at_ms)
        elif kind == 4:
            change(state, upserts=(side_of(item, chance.choice(["even", "odd", "other"]), at_ms, float(step)),))
        elif kind == 5:
            gone = item if chance.integers(2) else f"i{chance.integers(SIZE)}"
            change(state, deletes=(NodeDelete("item", gone, at_ms - int(chance.integers(5_000))),))
        elif kind == 6:
            change(state, deletes=(NodeDelete("user", user, at_ms),))
        else:
            for seconds in (0.0, 1e6, 2e6):
                state.reclaim(1e7 * step + seconds)  # Dead edges leave, and rows are given away again.
        table = table_of(state, model, table)
        assert_same(table, table_of(state, model), state)
    assert table.folded.unknown.any()
    assert state.graph.view().nodes("item").ids.num_reuses


@pytest.fixture
def folded(monkeypatch) -> list[list[int]]:
    """The items that each build of a table has folded in."""
    rows, fold_in = [], ItemFolder.fold_in
    monkeypatch.setattr(ItemFolder, "fold_in", lambda folder, of: rows.append(of.tolist()) or fold_in(folder, of))
    return rows


def test_only_items_that_changed_are_folded_in_again(folded):
    state, model = learned()
    take(state, ("u0", "a"), ("u1", "b"), ("u2", "c"))
    change(state, upserts=(side_of("nobody's", "even", START_MS),))
    a, b, c, nobodys = state.graph.nodes("item").ids.rows(["a", "b", "c", "nobody's"]).tolist()
    table = table_of(state, model)
    take(state, ("u3", "b"))
    table = table_of(state, model, table)
    change(state, upserts=(side_of("c", "odd", START_MS + 1),))
    table = table_of(state, model, table)
    change(state, deletes=(NodeDelete("user", "u0", START_MS + 1),))
    table = table_of(state, model, table)
    take(state, ("u3", "i0"))
    table_of(state, model, table)
    assert folded == [[a, b, c, nobodys], [b], [c], [a], []]


def test_all_are_folded_in_again_when_ages_have_changed(folded):
    state, model = learned()
    take(state, ("u0", "a"), ("u1", "b"))
    table = table_of(state, model)
    take(state, ("u3", "i0"), at_ms=START_MS + MS_PER_HOUR)
    table_of(state, model, table)
    assert len(folded[0]) == len(folded[1]) == 2


def test_cached_users_stay_while_no_item_changes():
    state, model = learned()
    take(state, ("u0", "a"))
    ranker = Ranker(state, quick_settings().ranking)
    ranker.swap(model)
    users = ranker._serving.users
    take(state, ("u0", "i2"))
    ranker.refresh()
    assert ranker._serving.users is users
    take(state, ("u1", "a"))
    ranker.refresh()
    assert ranker._serving.users is not users
