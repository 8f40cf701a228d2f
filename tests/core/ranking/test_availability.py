import random
import threading
import time

import numpy as np
import pytest

from springtide.events.model import NodeDelete, NodeUpsert
from springtide.graph import LiveGraph
from springtide.ranking import availability
from springtide.ranking.availability import hidden_rows

NOW_S = 1_790_000_000
NOW_MS = NOW_S * 1_000


def graph_of(*upserts: NodeUpsert) -> LiveGraph:
    graph = LiveGraph()
    for upsert in upserts:
        graph.upsert(upsert)
    return graph


def item(name: str, at_ms: int = 0, **attributes) -> NodeUpsert:
    numbers = {key: value for key, value in attributes.items() if isinstance(value, int | float)}
    categories = {key: value for key, value in attributes.items() if isinstance(value, tuple)}
    texts = {key: value for key, value in attributes.items() if isinstance(value, str)}
    return NodeUpsert("item", name, categories, numbers, texts, at_ms)


def hidden(graph: LiveGraph, timestamp_ms: int = NOW_MS) -> list[str]:
    items = graph.nodes("item")
    return items.ids.ids(hidden_rows(items, timestamp_ms, len(items)))


def test_until_is_exclusive_and_from_inclusive():
    graph = graph_of(item("a", available_from=NOW_S + 1, available_until=NOW_S + 2.5), item("b"))
    assert hidden(graph, NOW_MS + 999) == ["a"]
    assert hidden(graph, NOW_MS + 1_000) == []
    assert hidden(graph, NOW_MS + 2_499) == []
    assert hidden(graph, NOW_MS + 2_500) == ["a"]


def test_times_from_1e11_on_are_milliseconds():
    graph = graph_of(item("a", available_from=NOW_MS), item("b", available_until=NOW_MS))
    assert hidden(graph, NOW_MS - 1) == ["a"]
    assert hidden(graph, NOW_MS) == ["b"]


@pytest.mark.parametrize(
    ("value", "is_hidden"),
    [(1, True), (0, False), (-0.5, True), (("true",), True), (("YES",), True), ((" 1 ",), True), (("no",), False)],
)
def test_item_is_hidden_by_a_number_or_a_category(value, is_hidden):
    assert hidden(graph_of(item("a", is_hidden=value), item("b"))) == (["a"] if is_hidden else [])


def test_of_two_kinds_each_hides_its_items():
    graph = graph_of(item("a", is_hidden=1), item("b", is_hidden=2), item("c", is_hidden=("true",)))
    assert graph.nodes("item").kinds["is_hidden"] == "number"
    assert hidden(graph) == ["a", "b", "c"]


def test_text_says_nothing():
    assert hidden(graph_of(item("a", is_hidden="true", available_until="yesterday"))) == []


def test_a_change_holds_at_once():
    graph = graph_of(item("a", is_hidden=1), item("b"))
    assert hidden(graph) == ["a"]
    graph.upsert(item("a", 1, is_hidden=0))
    graph.upsert(item("b", 1, available_until=NOW_S - 1_000))
    assert hidden(graph) == ["b"]
    graph.upsert(item("b", 2, available_until=NOW_S + 1_000))
    assert hidden(graph) == []


def test_a_node_that_was_deleted_hides_no_other():
    graph = graph_of(item("a", is_hidden=1), item("b", available_until=1))
    assert hidden(graph) == ["a", "b"]
    graph.delete([NodeDelete("item", "a", 5), NodeDelete("item", "b", 5)])
    graph.upsert(item("a", 6))
    assert hidden(graph) == []


def test_later_rows_are_left_out():
    graph = graph_of(item("a", is_hidden=1), item("b"), item("c", is_hidden=1))
    assert hidden_rows(graph.nodes("item"), NOW_MS, 2).tolist() == [0]
    assert hidden_rows(graph.nodes("item"), NOW_MS, 3).dtype == np.int32
    again = [hidden_rows(graph.nodes("item"), NOW_MS, 2) for _ in range(2)]
    assert again[0] is again[1]


def test_as_many_as_are_looked_at_one_by_one():
    chance = random.Random(7)
    times = [NOW_S + step for step in range(-8, 9)]
    graph = LiveGraph()
    of_item: dict[str, dict] = {}
    for step in range(300):
        name = f"i{chance.randrange(40)}"
        given = {
            key: chance.choice(values)
            for key, values in (
                (availability.FROM, times),
                (availability.UNTIL, times),
                (availability.HIDDEN, [0, 1, ("no",)]),
            )
            if chance.random() < 0.4
        }
        graph.upsert(item(name, step, **given))
        of_item.setdefault(name, {}).update(given)
        moment_s = chance.choice(times) + chance.choice([-1, 0, 1])
        wanted = {
            name
            for name, known in of_item.items()
            if known.get(availability.HIDDEN) == 1
            or not known.get(availability.FROM, 0) <= moment_s < known.get(availability.UNTIL, 10**10)
        }
        assert set(hidden(graph, moment_s * 1_000)) == wanted


def test_other_attributes_do_not_make_it_look_again(monkeypatch):
    graph = graph_of(item("a", is_hidden=1, available_until=NOW_S))
    assert hidden(graph) == ["a"]
    monkeypatch.setattr(availability, "_Spans", None)  # Made again, it would fail.
    graph.upsert(item("a", 1, price=2.0))
    assert hidden(graph) == ["a"]


def test_readers_beside_the_writer_see_each_change():
    graph = graph_of(item("a", available_until=NOW_S))
    items, failures, stopping = graph.nodes("item"), [], threading.Event()

    def read() -> None:
        while not stopping.is_set():
            try:
                hidden_rows(items, NOW_MS, len(items))
            except Exception as error:  # It is what the test looks for.
                failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for step in range(2_000):
        graph.upsert(item(f"i{step % 200}", step, is_hidden=step % 2, available_until=NOW_S + step))
    stopping.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert hidden(graph) == sorted({"a", *(f"i{number}" for number in range(1, 200, 2))}, key=items.ids.row)


def test_asking_again_takes_microseconds():
    graph = graph_of(*(item(f"i{number}", available_until=NOW_S + number) for number in range(20_000)))
    items = graph.nodes("item")
    took_s = []
    hidden_rows(items, NOW_MS, len(items))
    for _ in range(10):
        start_s = time.perf_counter()
        for _ in range(100):
            hidden_rows(items, NOW_MS, len(items))
        took_s.append((time.perf_counter() - start_s) / 100)
    assert sorted(took_s)[2] < 50e-6  # A search of the items themselves takes a hundred times as long.
