"""The bytes of an answer are those that protobuf would write, and are made without a Python call for each item."""

import asyncio
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import FrameType
from typing import Any

import numpy as np
import pytest

from springtide.clock import AsOf
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Extras, RankedItems, Ranking
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.recommendation_ids import arms_of, moment_ms_of
from springtide.state_snapshot import StreamPosition
from springtide.steering.assignment import Arm
from springtide.steering.values import Variant
from springtide.testing import even_odd_state, quick_model, quick_settings
from springtide.v1 import recommender_pb2 as pb
from springtide_services.serving import request_translation, response_translation
from springtide_services.serving.batching import MicroBatcher
from springtide_services.serving.kernels import ranked_items
from springtide_services.serving.lists_service import RecommenderDependencies
from springtide_services.serving.positions import PositionWaiters
from springtide_services.serving.recommender_service import RecommenderService
from springtide_services.serving.work import work_of

ALPHABET = "ab1-/ é漢🦉\0"
SPECIAL = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45], np.float32)
_MAX_CALLS = 57  # 55 today, C functions counted: all of a request but the ranking and gRPC.
_MAX_PLAIN_CALLS = 37  # 35 today, of a plain request and its bytes.
_MAX_RANKING_CALLS = 88  # 81 today, of the ranking, for a user in the cache.


def text(chance: random.Random, longest: int) -> str:
    return "".join(chance.choices(ALPHABET, k=chance.randrange(longest)))


def random_items(chance: random.Random, num: int) -> RankedItems:
    names = tuple(text(chance, 30) for _ in range(chance.choice((0, 1, 7, 40))))
    numbers = np.array(chance.choices([*SPECIAL, 1.5, -2.25], k=num * (2 + len(names))), np.float32)
    scores, cosines, weights = numbers[:num], numbers[num : 2 * num], numbers[2 * num :]
    # The ranking computes the weights one after the other: their array lies the other way round.
    weights = weights.reshape(len(names), num).T if chance.random() < 0.5 else weights.reshape(num, len(names))
    return RankedItems([text(chance, chance.choice((2, 20, 300))) for _ in range(num)], scores, cosines, names, weights)


def by_protobuf(ranking: Ranking, next_offsets: dict[int, int], as_of: AsOf, is_behind: bool) -> pb.RecommendResponse:
    items = ranking.items
    return pb.RecommendResponse(
        items=[
            pb.RecommendedItem(item=item_id, score=score, cosine=cosine, weights=weights)
            for item_id, score, cosine, weights in items.rows()
        ],
        model_version=ranking.model_version,
        position=pb.GraphPosition(next_offsets=next_offsets),
        personalization=pb.PERSONALIZATION_LEARNED,
        is_behind_min_position=is_behind,
        as_of_ms=as_of.timestamp_ms,
        as_of_source=pb.MOMENT_SOURCE_WALL,
        weight_names=items.names,
        experiment_arms=[pb.ExperimentArm(experiment=arm.experiment, variant=arm.variant.name) for arm in ranking.arms],
    )


@pytest.mark.parametrize("seed", range(60))
def test_answer_is_read_as_the_message_that_protobuf_would_have_built(seed: int) -> None:
    chance = random.Random(seed)
    ranking = Ranking(random_items(chance, chance.choice((0, 1, 20, 1_000))), "learned", text(chance, 9))
    if chance.random() < 0.5:
        ranking = replace(
            ranking,
            arms=tuple(
                Arm(text(chance, 9), Variant(text(chance, 9), 0.1), (7, number))
                for number in range(chance.choice((1, 32)))
            ),
        )
    next_offsets = {number: chance.randrange(2**40) for number in range(chance.choice((0, 1, 1_000)))}
    as_of, is_behind = AsOf(chance.randrange(-(2**41), 2**42), "wall"), chance.random() < 0.5

    answer = response_translation.to_response(
        ranking, response_translation.to_position(next_offsets), as_of, is_behind=is_behind
    )

    expected, read = by_protobuf(ranking, next_offsets, as_of, is_behind), pb.RecommendResponse.FromString(answer)
    assert moment_ms_of(read.recommendation_id) == as_of.timestamp_ms % 2**48
    assert arms_of(read.recommendation_id) == tuple(arm.code for arm in ranking.arms)
    read.ClearField("recommendation_id")
    # Numbers that are none do not equal themselves; their bytes do.
    assert read.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)


def test_what_is_said_beside_the_scores_is_in_each_item() -> None:
    scores = np.array([2.0, 1.0, 0.5], np.float32)
    items = RankedItems(["a", "b", "c"], scores, scores / 4, (), np.empty((3, 0), np.float32))
    extras = Extras(
        attributes=({"price": 2.5, "title": "A"}, {}, {"brand": ("x", "y")}),
        placed_by=("", "rule top", ""),
        propensities=(0.0, 0.0, 0.25),
        next_page_token="more",
    )

    answer = response_translation.to_response(
        Ranking(items, "learned", "7", extras), response_translation.to_position({0: 3}), AsOf(1_000, "given")
    )

    read = pb.RecommendResponse.FromString(answer)
    assert read.next_page_token == "more"
    assert [item.item for item in read.items] == ["a", "b", "c"]
    assert [item.placed_by for item in read.items] == ["", "rule top", ""]
    assert [item.propensity for item in read.items] == [0.0, 0.0, 0.25]
    first, second, third = read.items
    assert first.attributes["price"].number == 2.5
    assert first.attributes["title"].text == "A"
    assert not second.attributes
    assert list(third.attributes["brand"].categories) == ["x", "y"]


def test_items_alone_have_the_same_bytes() -> None:
    items = [pb.SimilarItem(item="a", cosine=0.5), pb.SimilarItem(cosine=-0.0), pb.SimilarItem(item="ü" * 200)]
    rest = pb.SimilarItemsResponse(model_version="7").SerializeToString()
    cosines = np.array([item.cosine for item in items], np.float32)

    answer = ranked_items([item.item for item in items], cosines, None, None, rest)

    assert answer == pb.SimilarItemsResponse(items=items, model_version="7").SerializeToString()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((["a"], np.zeros(2, np.float32), None, None, b""), ValueError),
        ((["a"], np.zeros(1, np.float32), np.zeros(0, np.float32), None, b""), ValueError),
        ((["a", "b"], np.zeros(2, np.float32), None, np.zeros(3, np.float32), b""), ValueError),
        ((["a"], np.zeros(1, np.float64), None, None, b""), TypeError),
        (([b"a"], np.zeros(1, np.float32), None, None, b""), TypeError),
        ((["\ud800"], np.zeros(1, np.float32), None, None, b""), UnicodeEncodeError),
        ((["a"], np.zeros(1, np.float32), None, None, b"", 0, []), ValueError),
        ((["a"], np.zeros(1, np.float32), None, None, b"", 0, ["b"]), TypeError),
    ],
)
def test_what_is_no_list_of_items_is_refused(arguments: tuple[Any, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        ranked_items(*arguments)


@pytest.fixture
def service() -> Iterator[RecommenderService]:
    """A service over a stream of 1,000 partitions and a model, which has learned what a query takes."""
    settings, state = quick_settings(model={"width": 16}), even_odd_state(24)
    state.position = StreamPosition("events", "an id", dict.fromkeys(range(1_000), 7))
    ranker = Ranker(state, settings.ranking)
    ranker.swap(ServingModel.from_artifact(quick_model(state, settings), load_plugins()))
    batcher = MicroBatcher(ranker.recommend, 32, work_of)
    batcher._alone_s = 0.0  # Else a busy machine could say that the first ones took long.
    batcher._unmeasured = 1_000
    service = RecommenderService(settings)
    loop = asyncio.new_event_loop()
    service.loaded = RecommenderDependencies(state, ranker, batcher, PositionWaiters(loop, state.has_reached))
    yield service
    batcher.close()
    loop.close()


def answered(service: RecommenderService, request: pb.RecommendRequest | request_translation.PlainRequest) -> bytes:
    """Return the answer to a request that must not wait for anything."""
    context: Any = None
    try:
        service.recommend(request, context).send(None)
    except StopIteration as returned:
        answer = returned.value
        assert isinstance(answer, bytes)
        return answer
    raise AssertionError("it waits")


def test_weights_are_there_where_they_are_asked_for_alone(service: RecommenderService) -> None:
    basic, full = (
        pb.RecommendResponse.FromString(answered(service, pb.RecommendRequest(user="u1", view=view)))
        for view in (pb.RECOMMEND_VIEW_UNSPECIFIED, pb.RECOMMEND_VIEW_WEIGHTS)
    )

    assert (list(basic.weight_names), list(basic.items[0].weights)) == ([], [])
    assert list(full.weight_names) == ["familiarity"]
    assert all(len(item.weights) == len(full.weight_names) for item in full.items)
    assert [(item.item, item.score, item.cosine) for item in basic.items] == [
        (item.item, item.score, item.cosine) for item in full.items
    ]


def test_position_is_the_one_of_the_time_of_asking(service: RecommenderService) -> None:
    assert service.loaded is not None
    request = pb.RecommendRequest(user="u1", min_position=pb.GraphPosition(next_offsets={3: 7}))
    assert pb.RecommendResponse.FromString(answered(service, request)).position.next_offsets[3] == 7

    service.loaded.state.advance({3: 8})

    response = pb.RecommendResponse.FromString(answered(service, request))
    assert (response.position.next_offsets[3], len(response.position.next_offsets)) == (8, 1_000)


def calls_of(service: RecommenderService, read: Callable[[], Any]) -> tuple[int, int]:
    """Read a request and answer it; return the calls around the ranking and in it, C functions counted."""
    around = inside = depth = 0

    def note(frame: FrameType, event: str, called: object) -> None:
        nonlocal around, inside, depth
        is_ranking = event in ("call", "return") and frame.f_code is Ranker.recommend.__code__
        if is_ranking:
            depth += 1 if event == "call" else -1
        if event in ("call", "c_call"):
            inside += depth > 0
            around += depth == 0

    sys.setprofile(note)
    try:
        answered(service, read())
    finally:
        sys.setprofile(None)
    return around, inside


@pytest.mark.parametrize(
    ("read", "most"),
    [(pb.RecommendRequest.FromString, _MAX_CALLS), (request_translation.read_request, _MAX_PLAIN_CALLS)],
)
def test_plain_request_makes_few_calls(service: RecommenderService, read: Callable[[bytes], Any], most: int) -> None:
    data = pb.RecommendRequest(
        user="u1", exclude_seen=["*"], count=20, view=pb.RECOMMEND_VIEW_WEIGHTS
    ).SerializeToString()
    for _ in range(2):  # From then on, the user and what they have seen are in the cache.
        answered(service, read(data))

    around, inside = calls_of(service, lambda: read(data))

    assert around <= most
    assert inside <= _MAX_RANKING_CALLS
