"""The built-in reranker is found by its hook, does what every reranker must do, and orders as it should."""

import numpy as np
import pytest

from springtide.errors import SettingsError
from springtide.plugins.hookspecs import register_rerankers
from springtide.plugins.loading import load_plugins
from springtide.settings.model import Settings
from springtide.testing import check_reranker, shortlist_of
from springtide_plugins.rerankers.mmr import MaximalMarginalRelevance

EAST, NORTH = [1.0, 0.0], [0.0, 1.0]


@pytest.mark.parametrize("options", [{}, {"diversity": 0.0}, {"diversity": 1.0}, {"attribute": "category"}])
def test_mmr_does_what_every_reranker_must_do(options):
    check_reranker(MaximalMarginalRelevance, **options)


def test_mmr_is_registered_by_its_hook():
    assert register_rerankers.__name__ == "register_rerankers"
    part = load_plugins().part("reranker", "mmr")
    assert part.reference == "springtide_plugins.rerankers.mmr:MaximalMarginalRelevance"
    assert {option.name for option in part.options} == {"diversity", "attribute"}


@pytest.mark.parametrize(("diversity", "order"), [(0.0, [0, 1, 2]), (0.3, [0, 1, 2]), (0.5, [0, 2, 1])])
def test_item_unlike_the_first_goes_before_one_like_it(diversity, order):
    """Relevance 1, .8 and 0: the second of the same direction is worth ``.8 (1 - d) - d``, the other one 0."""
    shortlist = shortlist_of(["a", "b", "c"], [10.0, 8.0, 0.0], np.array([EAST, EAST, NORTH], np.float32))

    assert MaximalMarginalRelevance(diversity=diversity).order(shortlist, count=3).tolist() == order


def test_brands_take_turns():
    """What was chosen once counts half, twice three quarters: at 1 each brand comes as often as the others."""
    brands = [("a",), ("a",), ("a",), ("a",), ("b",), ("b",)]
    shortlist = shortlist_of(list("uvwxyz"), [6, 5, 4, 3, 2, 1], categories={"brand": brands})

    order = MaximalMarginalRelevance(diversity=1.0, attribute="brand").order(shortlist, count=4)

    assert order.tolist() == [0, 4, 1, 5]


def test_wrong_option_is_refused_with_the_key_of_its_setting():
    settings = Settings.model_validate({"ranking": {"rerankers": {"mmr": {"diversity": 2.0}}}})
    with pytest.raises(SettingsError, match=r"ranking\.rerankers\.mmr: reranker 'mmr': diversity"):
        load_plugins().check_serving(settings)


def test_unknown_reranker_is_refused():
    with pytest.raises(SettingsError, match=r"no reranker named 'mrr'"):
        load_plugins().check(Settings.model_validate({"ranking": {"rerankers": {"mrr": {}}}}))
