"""The values of nodes beside their first ones, as arrays that follow the changes."""

import random
import threading

import numpy as np
import pytest

import springtide.graph.categories as room
from springtide.graph.categories import CategoryColumn
from springtide.ids import IdMap

NUM_NODES = 200
WORDS = [f"w{code}" for code in range(12)]


def others_of(column: CategoryColumn) -> list[tuple[int, str]]:
    rows, codes = column.other_values()
    return sorted(zip(rows.tolist(), column.vocabulary.ids(codes.tolist()), strict=True))


@pytest.mark.parametrize("most_logged", [8, 400, 65_536])
def test_other_values_follow_every_change(monkeypatch, most_logged: int) -> None:
    monkeypatch.setattr(room, "_MOST_LOGGED", most_logged)
    chance = random.Random(most_logged)
    column = CategoryColumn(IdMap(f"n{row}" for row in range(NUM_NODES)))
    held: dict[int, list[str]] = {}
    for step in range(3_000):
        row = chance.randrange(NUM_NODES)
        held[row] = chance.sample(WORDS, chance.randrange(5))
        if held[row] or chance.random() < 0.5:
            column.set(row, held[row])
        else:
            column.unset(row)
        if chance.random() < 0.02 or step in (0, 2_999):
            wanted = sorted((row, word) for row, words in held.items() for word in words[1:])
            assert others_of(column) == wanted
            assert others_of(column) == wanted
            word = chance.choice(WORDS)
            assert np.flatnonzero(column.has_any([word])).tolist() == sorted(
                row for row, words in held.items() if word in words
            )


def test_other_values_are_whole_while_another_thread_writes() -> None:
    column = CategoryColumn(IdMap(f"n{row}" for row in range(NUM_NODES)))
    stopping = threading.Event()

    def write() -> None:
        chance = random.Random(1)
        while not stopping.is_set():
            column.set(chance.randrange(NUM_NODES), chance.sample(WORDS, chance.randrange(4)))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(2_000):
            rows, codes = column.other_values()
            assert len(rows) == len(codes)
            assert codes.max(initial=0) < len(WORDS)
    finally:
        stopping.set()
        thread.join()
    anew = sorted((row, word) for row in range(NUM_NODES) for word in column.values(row)[1:])
    assert others_of(column) == anew
