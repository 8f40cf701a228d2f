"""What is served is replaced by swaps and refreshes: none overwrites a newer one, and nothing is made without need."""

import dataclasses
import threading
from typing import Any

import pytest

from springtide.events.model import EventBatch, NodeDelete, NodeUpsert
from springtide.interactions import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.item_table import ItemTable
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.state import LiveState
from springtide.testing import even_odd_events, even_odd_state, interactions_of, quick_model, quick_settings, state_of

SIZE = 24
NOW = Moment(even_odd_events(SIZE)[-1][2] + 1_000)
SETTINGS = quick_settings(model={"width": 16})


@pytest.fixture
def state() -> LiveState:
    return even_odd_state(SIZE)


@pytest.fixture
def model(state: LiveState) -> ServingModel:
    return dataclasses.replace(
        ServingModel.from_artifact(quick_model(state, SETTINGS), load_plugins()), version="000001"
    )


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The versions of the models whose item tables were built."""
    built: list[str] = []
    build = ItemTable.build

    def noting(model: ServingModel, *args: Any) -> ItemTable:
        built.append(model.version)
        return build(model, *args)

    monkeypatch.setattr(ItemTable, "build", noting)
    return built


def take(state: LiveState, *events: tuple[str, str, int]) -> None:
    state.apply(EventBatch(interactions_of(events)))


def delete(state: LiveState, item_id: str) -> None:
    state.apply(EventBatch(interactions_of([]), deletes=[NodeDelete("item", item_id, NOW.timestamp_ms)]))


class SwappedMeanwhile(Ranker):
    """Another thread swaps a model in right when a refresh looks whether one was."""

    swap_in: ServingModel | None = None
    is_due = False
    swapping: threading.Thread

    @property
    def _serving(self) -> Any:
        serving = self.__dict__["serving"]
        if self.is_due:
            self.is_due = False
            self.swapping = threading.Thread(target=self.swap, args=[self.swap_in])
            self.swapping.start()
            self.swapping.join(timeout=0.5)  # Without a lock it is through by now; with one it waits for the refresh.
        return serving

    @_serving.setter
    def _serving(self, serving: Any) -> None:
        self.__dict__["serving"] = serving


def test_refresh_never_overwrites_a_model_that_was_swapped_in_meanwhile(state: LiveState, model: ServingModel) -> None:
    ranker = SwappedMeanwhile(state, SETTINGS.ranking)
    ranker.swap(model)
    ranker.swap_in = dataclasses.replace(model, version="000002")
    refreshed = ranker._maker.refreshed

    def refreshed_then_swapped(*args: Any) -> Any:
        fresh = refreshed(*args)
        ranker.is_due = True
        return fresh

    ranker._maker.refreshed = refreshed_then_swapped  # type: ignore[method-assign]
    ranker.refresh()
    ranker.swapping.join(timeout=30)

    assert not ranker.is_due, "wanted the refresh to look at what is served"
    assert ranker.model_version == "000002"
    assert ranker.recommend([Query(NOW, "u0")])[0].model_version == "000002"


def test_requests_wait_for_no_swap_and_no_refresh(state: LiveState, model: ServingModel) -> None:
    ranker = Ranker(state, SETTINGS.ranking)
    ranker.swap(model)
    with ranker._swap_lock, ranker._refresh_lock:
        answered: list[str] = []
        asking = threading.Thread(target=lambda: answered.append(ranker.recommend([Query(NOW, "u0")])[0].model_version))
        asking.start()
        asking.join(timeout=30)
        assert answered == ["000001"]


def test_deleted_item_costs_one_table_and_not_one_every_second(
    state: LiveState, model: ServingModel, builds: list[str]
) -> None:
    ranker = Ranker(state, SETTINGS.ranking)
    ranker.swap(model)
    delete(state, "i9")
    for number in range(5):
        take(state, ("u0", "i2", NOW.timestamp_ms + number))
        ranker.refresh()
    assert len(builds) == 2, "one for the swap, one for the delete"
    users = ranker._serving.users
    take(state, ("u0", "i2", NOW.timestamp_ms + 9))
    ranker.refresh()
    assert ranker._serving.users is users, "cached users stay"


def test_new_item_that_was_deleted_costs_no_further_table(
    state: LiveState, model: ServingModel, builds: list[str]
) -> None:
    ranker = Ranker(state, SETTINGS.ranking)
    ranker.swap(model)
    take(state, ("u0", "new item", NOW.timestamp_ms))
    ranker.refresh()
    delete(state, "new item")
    for number in range(5):
        take(state, ("u0", "i2", NOW.timestamp_ms + number))
        ranker.refresh()
    assert len(builds) == 3, "one for the swap, one for the new item, one for the delete"


def test_refresh_follows_the_attributes_of_a_new_item() -> None:
    def side(item_id: str, name: str) -> NodeUpsert:
        return NodeUpsert("item", item_id, categories={"side": (name,)})

    upserts = [side(f"i{number}", "even" if number % 2 == 0 else "odd") for number in range(SIZE)]
    state = state_of(even_odd_events(SIZE), SETTINGS, upserts=upserts)
    ranker = Ranker(state, SETTINGS.ranking)
    ranker.swap(ServingModel.from_artifact(quick_model(state, SETTINGS), load_plugins()))
    cosines = []
    for name in ("even", "odd"):
        state.apply(EventBatch(interactions_of([]), upserts=[side("new item", name)]))
        ranker.refresh()
        [ranking] = ranker.recommend([Query(NOW, "u1", allow_items=("new item",))])
        cosines.append(ranking.items[0].cosine)
    assert cosines[1] > cosines[0] + 0.3
