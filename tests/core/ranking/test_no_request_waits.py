"""No request waits for what the background makes: counted over hours, new items and new models."""

import dataclasses
import threading
from typing import Any

import pytest

from springtide.clock import MS_PER_HOUR
from springtide.events.model import EventBatch
from springtide.model.exponents import Exponents, TermExponents
from springtide.plugins.contracts import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking import item_table, moment_cache
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.testing import even_odd_events, even_odd_state, interactions_of, quick_model, quick_settings

SIZE = 40
NOW_MS = even_odd_events(SIZE)[-1][2]
LIFTS = {"popularity": {"share": 0.5}, "trend": {"7d": 0.3}}
EXPONENTS = Exponents(TermExponents(2.0, LIFTS), TermExponents(2.0, LIFTS))


@pytest.fixture
def made_in(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the threads that have made the item weights of a moment."""
    names: list[str] = []
    make = moment_cache.item_weights

    def noting(*arguments: Any) -> Any:
        names.append(threading.current_thread().name)
        return make(*arguments)

    monkeypatch.setattr(moment_cache, "item_weights", noting)
    return names


def in_background(work: Any, *arguments: Any) -> None:
    thread = threading.Thread(target=work, args=arguments, name="background")
    thread.start()
    thread.join()


def test_requests_make_no_item_weights_through_hours_new_items_and_new_models(made_in: list[str]) -> None:
    settings = quick_settings(ranking={"context_weights": {"popularity": {}, "trend": {}}})
    state = even_odd_state(SIZE, settings)
    model = ServingModel.from_artifact(quick_model(state, settings), load_plugins())
    model = dataclasses.replace(model, exponents=EXPONENTS)
    ranker = Ranker(state, settings.ranking)
    in_background(ranker.swap, model)
    in_background(ranker.refresh, NOW_MS)
    made_in.clear()
    for step in range(40):
        now_ms = NOW_MS + step * MS_PER_HOUR // 8
        for place in ("", "north") if step else ("",):
            ranker.recommend([Query(Moment(now_ms, place), user_id="u1")])
        state.apply(EventBatch(interactions_of([(f"u{step}", f"new {step}", now_ms)])))
        if step % 7 == 3:
            in_background(ranker.swap, dataclasses.replace(model, version=f"v{step}"))
        in_background(ranker.refresh, now_ms + MS_PER_HOUR // 8 - 10_000)  # Shortly before the next request.

    assert "background" in made_in
    assert [name for name in made_in if name != "background"] == []


def test_a_table_looks_up_only_the_new_items_again(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = quick_settings()
    state = even_odd_state(SIZE, settings)
    ranker = Ranker(state, settings.ranking)
    ranker.swap(ServingModel.from_artifact(quick_model(state, settings), load_plugins()))
    monkeypatch.setattr(item_table, "_LOOKED_UP_AT_ONCE", 2)
    table = ranker.scorer().serving.table
    assert table is not None
    looked_up: list[list[int]] = []
    rows_of = type(table.model.items.rows).of

    def noting(self: Any, nodes: Any, rows: Any) -> Any:
        looked_up.append(rows.tolist())
        return rows_of(self, nodes, rows)

    monkeypatch.setattr(type(table.model.items.rows), "of", noting)
    state.apply(EventBatch(interactions_of([("u1", f"new {number}", NOW_MS) for number in range(3)])))
    ranker.refresh()

    fresh = ranker.scorer().serving.table
    assert fresh is not None
    assert fresh.num_items == SIZE + 3
    assert [rows for rows in looked_up if rows and max(rows) >= SIZE - 2][:2] == [[SIZE, SIZE + 1], [SIZE + 2]]
    assert fresh.model_rows[:SIZE].tolist() == table.model_rows.tolist()
