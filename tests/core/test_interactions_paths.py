"""Paths of items through the levels of their groups: what depends on the groups alone is the same for a path."""

import numpy as np
import pytest

from springtide import interactions
from springtide.interactions import ItemGroups


def groups_of(rng: np.random.Generator, num_items: int = 500, sizes: tuple[int, ...] = (3, 7, 40)) -> ItemGroups:
    codes = [rng.integers(-1, size, num_items).astype(np.int32) for size in sizes]
    return ItemGroups(("department", "category", "type"), codes, sizes)


@pytest.mark.parametrize("most", [0, 10_000_000])  # By sorting, and by a table.
def test_items_of_one_path_are_in_the_same_groups(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interactions, "_MAX_TABLE", most)
    groups = groups_of(np.random.default_rng(0))
    path_of, levels = groups.paths()
    for codes, of_level in zip(groups.codes, levels, strict=True):
        assert of_level[path_of].tolist() == codes.tolist()
    assert len(levels[0]) == len(np.unique(np.stack(groups.codes), axis=1).T), "no path is there twice"
    assert groups.paths()[0] is path_of, "they are found once"


def test_without_groups_there_are_no_paths() -> None:
    path_of, levels = ItemGroups().paths()
    assert (len(path_of), list(levels)) == (0, [])
    path_of, levels = ItemGroups(("type",), (np.empty(0, np.int32),), (0,)).paths()
    assert (len(path_of), [len(level) for level in levels]) == (0, [0])


def test_a_group_beyond_its_level_is_refused() -> None:
    with pytest.raises(ValueError, match="wanted groups below 2, got 2"):
        ItemGroups(("type",), (np.array([0, 2], np.int32),), (2,)).paths()
