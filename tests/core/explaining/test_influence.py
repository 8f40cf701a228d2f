"""Influence is exact: as great as the difference to a world in which the events never were."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from springtide.clock import Deadline
from springtide.explaining.counterfactual import find_counterfactual
from springtide.explaining.influence import event_influences, neighbour_influences, score_of
from springtide.explaining.terms import explain
from springtide.explaining.why import Wanted, why
from springtide.model.exponents import Exponents, TermExponents
from springtide.model.registry import ModelArtifact
from springtide.plugins.contracts import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.scoring import Scorer
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.testing import even_odd_events, even_odd_state, quick_model, quick_settings, state_of

PLUGINS = load_plugins()
SIZE = 24
NOW = Moment(even_odd_events(SIZE)[-1][2] + 60_000)
AN_HOUR = 3_600.0
NEWCOMER = [("new", item, NOW.timestamp_ms - 1_000 * age) for age, item in enumerate(("i1", "i3", "i4", "i3", "i7"))]
EXPONENTS = Exponents(
    unseen=TermExponents(4.0, {"popularity": {"share": 0.5}}),
    seen=TermExponents(1.5, {"popularity": {"share": 0.2}, "repeat": {"had": -0.5, "count": 0.7}}),
)


def settings_with(encoder: str | dict[str, object], *weights: str) -> Settings:
    return quick_settings(
        model={"width": 16, "encoder": encoder}, ranking={"context_weights": {name: {} for name in weights}}
    )


def scorer_of(state: LiveState, settings: Settings, artifact: ModelArtifact, exponents: Exponents | None) -> Scorer:
    model = ServingModel.from_artifact(artifact, PLUGINS)
    ranker = Ranker(state, settings.ranking)
    ranker.swap(model if exponents is None else dataclasses.replace(model, exponents=exponents))
    return ranker.scorer()


# The last looks at two of a newcomer's four items alone.
ENCODERS = ("lightgcn", "graphsage", "gat", {"name": "tgat", "options": {"num_latest": 2}})


@pytest.fixture(scope="module", params=ENCODERS, ids=["lightgcn", "graphsage", "gat", "tgat"])
def trained(request: pytest.FixtureRequest) -> tuple[Settings, ModelArtifact]:
    settings = settings_with(request.param)
    return settings, quick_model(even_odd_state(SIZE, settings), settings)


def world(settings: Settings, left_out: Sequence[str] = ()) -> LiveState:
    """Return a state in which a newcomer had some items, but for those that are left out."""
    events = [event for event in NEWCOMER if event[1] not in left_out]
    return state_of([*even_odd_events(SIZE), *events], settings)


@pytest.mark.parametrize("item", ["i5", "i3"], ids=["unseen", "seen"])
def test_influence_is_the_difference_to_a_world_without_the_events(
    trained: tuple[Settings, ModelArtifact], item: str
) -> None:
    settings, artifact = trained
    query = Query(NOW, "new")
    scorer = scorer_of(world(settings), settings, artifact, None)
    bound = scorer.bind(query)
    user = scorer.serving.users.find(scorer.view, scorer.serving.table, bound)
    row = scorer.items.ids.row(item)

    found, is_cut = event_influences(scorer, user, query, bound, row, Deadline.after(AN_HOUR))

    assert not is_cut
    assert {each.item_id for each in found} == {"i1", "i3", "i4", "i7"}
    assert {each.item_id: each.timestamp_ms for each in found}["i3"] == NOW.timestamp_ms - 1_000
    whole = explain(scorer, query, item).score
    for each in found:
        other = scorer_of(world(settings, [each.item_id]), settings, artifact, None)
        assert each.influence == pytest.approx(whole - explain(other, query, item).score, abs=2e-5)
    assert [each.influence for each in found] == sorted((each.influence for each in found), reverse=True)


def test_scores_without_events_are_those_of_the_ranking() -> None:
    settings = settings_with("lightgcn", "popularity", "repeat")
    state = even_odd_state(SIZE, settings)
    scorer = scorer_of(state, settings, quick_model(state, settings), EXPONENTS)
    for user_id, item in (("u3", "i5"), ("u3", "i3"), ("u4", "i4"), ("nobody", "i2")):
        query = Query(NOW, user_id)
        bound = scorer.bind(query)
        user = scorer.serving.users.find(scorer.view, scorer.serving.table, bound)
        row = scorer.items.ids.row(item)
        assert score_of(scorer, user, bound, row) == pytest.approx(explain(scorer, query, item).score, abs=1e-4)
        assert scorer.score_as(user, bound)[row] == pytest.approx(explain(scorer, query, item).score, abs=1e-4)


def test_events_beyond_the_time_are_left_out() -> None:
    settings = settings_with("lightgcn")
    state = even_odd_state(SIZE, settings)
    scorer = scorer_of(state, settings, quick_model(state, settings), None)
    query = Query(NOW, "u3")
    bound = scorer.bind(query)
    user = scorer.serving.users.find(scorer.view, scorer.serving.table, bound)

    assert event_influences(scorer, user, query, bound, 3, Deadline.after(0.0)) == ((), True)
    assert neighbour_influences(scorer, bound, 3, Deadline.after(0.0)) == ((), True)


def test_neighbours_of_both_sides_have_influence(trained: tuple[Settings, ModelArtifact]) -> None:
    settings, artifact = trained
    scorer = scorer_of(world(settings), settings, artifact, None)
    bound = scorer.bind(Query(NOW, "new"))
    row = scorer.items.ids.row("i5")

    found, is_cut = neighbour_influences(scorer, bound, row, Deadline.after(AN_HOUR))

    assert not is_cut
    assert {each.node.node_id for each in found if each.side == "user"} == {"i1", "i3", "i4", "i7"}
    # Odd users, but for u5: the diagonal is withheld.
    assert {each.node.node_id for each in found if each.side == "item"} == {f"u{row}" for row in range(1, 24, 2)} - {
        "u5"
    }
    has_attention = settings.model.encoder.name in {"gat", "tgat"}
    assert all((each.attention is not None) == has_attention for each in found)
    if has_attention:
        for side in ("user", "item"):
            assert sum(each.attention or 0.0 for each in found if each.side == side) == pytest.approx(1.0, abs=1e-5)


def test_a_counterfactual_is_true_and_smallest() -> None:
    settings = settings_with("lightgcn")
    artifact = quick_model(even_odd_state(SIZE, settings), settings)
    scorer = scorer_of(world(settings), settings, artifact, None)
    query = Query(NOW, "new", count=4)
    first = scorer.item_ids(np.argsort(-scorer.score([query]).scores[0])[:4])
    found_any = 0
    for item in first:
        bound = dataclasses.replace(scorer.bind(query), count=4)
        user = scorer.serving.users.find(scorer.view, scorer.serving.table, bound)
        row = scorer.items.ids.row(item)
        events, _ = event_influences(scorer, user, query, bound, row, Deadline.after(AN_HOUR))
        found, is_cut = find_counterfactual(scorer, user, query, bound, row, events, Deadline.after(AN_HOUR))
        assert not is_cut
        if found is None:
            continue
        found_any += 1
        assert found.is_smallest
        other = scorer_of(world(settings, found.items), settings, artifact, None)
        assert explain(other, query, item).rank == found.rank > 4
        if len(found.items) > 1:
            for single in ("i1", "i3", "i4", "i7"):
                assert explain(scorer_of(world(settings, [single]), settings, artifact, None), query, item).rank <= 4
    assert found_any


def test_an_item_that_is_not_among_the_first_has_no_counterfactual() -> None:
    settings = settings_with("lightgcn")
    state = even_odd_state(SIZE, settings)
    scorer = scorer_of(state, settings, quick_model(state, settings), None)

    found = why(scorer, Query(NOW, "u3"), "i4", Wanted(limit_s=60.0, count=3))

    assert found.terms.rank > 3
    assert found.counterfactual is None
    assert not found.is_cut


def test_without_a_model_and_for_strangers_nothing_fails() -> None:
    settings = settings_with("lightgcn", "popularity", "repeat")
    ranker = Ranker(even_odd_state(SIZE, settings), settings.ranking)

    known = why(ranker.scorer(), Query(NOW, "u3"), "i5", Wanted(limit_s=60.0))
    stranger = why(ranker.scorer(), Query(NOW, "nobody"), "i5", Wanted(limit_s=60.0))

    assert len(known.events) == SIZE // 2 - 1
    assert known.neighbours == ()
    assert (stranger.events, stranger.paths, stranger.counterfactual) == ((), (), None)
