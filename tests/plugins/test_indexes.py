"""The built-in index is found by its hook, does what every index must do, and says what it lacks."""

import importlib.util

import numpy as np
import pytest

from springtide.errors import SettingsError
from springtide.plugins.hookspecs import register_indexes
from springtide.plugins.loading import load_plugins
from springtide.settings.model import PartSettings, Settings
from springtide.testing import check_index
from springtide_plugins.indexes import usearch
from springtide_plugins.indexes.usearch import USearch


def unit_vectors(num_items, width=32, seed=0):
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(30, width))[generator.integers(0, 30, num_items)]
    vectors += generator.normal(size=(num_items, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("options", [{}, {"precision": "f32"}, {"precision": "bf16", "connectivity": 8}])
def test_usearch_does_what_every_index_must_do(options):
    pytest.importorskip("usearch")
    check_index(USearch, **options)


def test_usearch_is_registered_by_its_hook():
    assert register_indexes.__name__ == "register_indexes"
    part = load_plugins().part("index", "usearch")
    assert part.reference == "springtide_plugins.indexes.usearch:USearch"
    assert "connectivity" in [option.name for option in part.options]


def test_more_expansion_finds_more():
    pytest.importorskip("usearch")
    vectors, users = unit_vectors(3_000), unit_vectors(50, seed=1)
    recalls = []
    for expansion in (20, 400):
        index = USearch(connectivity=4, expansion_add=20, expansion_search=expansion)
        index.build(vectors, np.arange(3_000, dtype=np.int32), lambda: True)
        nearest = np.argsort(-(users @ vectors.T), axis=1)[:, :20]
        found = [index.search(user, 20) for user in users]
        recalls.append(np.mean([len(np.intersect1d(*each)) / 20 for each in zip(found, nearest, strict=True)]))
    assert recalls[1] > recalls[0] + 0.05
    assert recalls[1] > 0.9


def test_vectors_are_added_near_together_and_each_once(monkeypatch):
    pytest.importorskip("usearch")
    monkeypatch.setattr(usearch, "_MIN_SORTED", 2_000)
    vectors, rows = unit_vectors(4_000), np.arange(1, 4_000, 2, dtype=np.int32)
    order = usearch._near_together(vectors, rows, lambda: True)
    assert order.dtype == np.int32
    assert np.sort(order).tolist() == rows.tolist()
    follows = (vectors[order[200:-1]] * vectors[order[201:]]).sum(axis=1).mean()  # Behind those that are drawn first.
    assert follows > (vectors[rows[:-1]] * vectors[rows[1:]]).sum(axis=1).mean() + 0.1
    index = USearch()
    index.build(vectors, rows, lambda: True)
    users = unit_vectors(30, seed=1)
    nearest = rows[np.argsort(-(users @ vectors[rows].T), axis=1)[:, :20]]
    assert (
        np.mean([np.isin(index.search(user, 50), best).sum() for user, best in zip(users, nearest, strict=True)]) > 19
    )
    asked = []
    assert len(usearch._near_together(vectors, rows, lambda: bool(asked.append(1)))) == len(rows)
    assert len(asked) == 1


def test_memory_of_usearch_is_known():
    pytest.importorskip("usearch")
    index = USearch()
    index.build(unit_vectors(2_000, 64), np.arange(2_000, dtype=np.int32), lambda: True)
    assert index.num_bytes > 2_000 * 64


def test_build_that_is_no_longer_wanted_adds_nothing_more():
    pytest.importorskip("usearch")
    index, asked = USearch(), []
    index.build(unit_vectors(2_000), np.arange(2_000, dtype=np.int32), lambda: len(asked) < 2 and not asked.append(1))
    assert len(index.search(unit_vectors(1)[0], 2_000)) == 1_024


def test_without_usearch_the_settings_are_refused_with_what_to_install(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "usearch" else found(name))
    wanted = r"ranking\.index: index 'usearch': usearch is not installed: pip install 'springtide\[index\]'"
    with pytest.raises(SettingsError, match=wanted):
        load_plugins().check_serving(Settings.model_validate({"ranking": {"index": "usearch"}}))


def test_index_that_nobody_offers_is_refused_with_the_key_of_its_setting():
    with pytest.raises(SettingsError, match=r"ranking\.index: no index named 'annoying' \(choices: usearch\)"):
        load_plugins().check(Settings.model_validate({"ranking": {"index": "annoying"}}))


def test_option_out_of_its_range_is_refused():
    with pytest.raises(SettingsError, match=r"index 'usearch': connectivity: wanted a whole number, at least 2"):
        load_plugins().make("index", PartSettings(name="usearch", options={"connectivity": 1}))
