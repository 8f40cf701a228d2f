"""Plain requests are read without protobuf's help, and mean what protobuf says that they mean."""

import random

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from springtide.clock import AsOf
from springtide.errors import InvalidRequestError
from springtide.v1 import recommender_pb2 as pb
from springtide_services.serving import request_translation

AS_OF = AsOf(1_700_000_000_123, "wall")
WORDS = ("*", "purchase", "é漢🦉", "", "a\0b", "w" * 256, "w" * 257, "é" * 129)


def outcome(data: bytes) -> object:
    """Return the query that a request is read as, or how it is refused."""
    try:
        request = request_translation.read_request(data)
        if isinstance(request, tuple):
            return request_translation.plain_query(request, AS_OF)
        return request_translation.to_query(request, AS_OF)
    except (InvalidRequestError, DecodeError) as error:
        return type(error), str(error)


def by_protobuf(data: bytes) -> object:
    try:
        return request_translation.to_query(pb.RecommendRequest.FromString(data), AS_OF)
    except (InvalidRequestError, DecodeError) as error:
        return type(error), str(error)


def random_request(chance: random.Random) -> bytes:
    request = pb.RecommendRequest(user=chance.choice(("", "u1", *WORDS)))
    if chance.random() < 0.5:
        request.count = chance.choice((-1, 0, 1, 20, 127, 128, 1_000, 1_001, 2**31 - 1))
    if chance.random() < 0.7:
        request.exclude_seen.extend(chance.choices(WORDS[:5], k=chance.choice((1, 1, 1, 2, 64, 65))))
    if chance.random() < 0.5:
        request.view = chance.choice((0, 1, 2, 3, 300, -1))
    if chance.random() < 0.1:
        request.exclude_items.extend(["a", "b"])
    return request.SerializeToString()


@pytest.mark.parametrize("seed", range(40))
def test_a_request_is_read_as_protobuf_reads_it(seed: int) -> None:
    chance = random.Random(seed)
    num_plain = 0
    for _ in range(200):
        data = random_request(chance)
        if chance.random() < 0.2:  # Fields may come twice: of numbers and texts the last one counts.
            data += random_request(chance)
        assert outcome(data) == by_protobuf(data)
        num_plain += (
            isinstance(request_translation.read_request(data), tuple) if not isinstance(by_protobuf(data), tuple) else 0
        )
    assert num_plain > 20


@pytest.mark.parametrize("seed", range(40))
def test_damaged_bytes_are_read_or_refused_as_by_protobuf(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(300):
        data = bytearray(random_request(chance)[:60])
        for _ in range(chance.randrange(1, 4)):
            if data:
                at = chance.randrange(len(data))
                data[at : at + chance.choice((0, 1, 1))] = bytes([chance.randrange(256)])
        damaged = bytes(data[: chance.randrange(len(data) + 1)]) if chance.random() < 0.3 else bytes(data)
        assert outcome(damaged) == by_protobuf(damaged)


@pytest.mark.parametrize(
    "request_",
    [
        pb.RecommendRequest(),
        pb.RecommendRequest(user="u1", exclude_seen=["*"], view=pb.RECOMMEND_VIEW_WEIGHTS),
        pb.RecommendRequest(user="u1", count=1_000, exclude_seen=["purchase", "view"]),
    ],
)
def test_plain_requests_are_no_messages(request_: pb.RecommendRequest) -> None:
    assert isinstance(request_translation.read_request(request_.SerializeToString()), tuple)


@pytest.mark.parametrize(
    "request_",
    [
        pb.RecommendRequest(recent_items=["a"]),
        pb.RecommendRequest(context=pb.Context(event_time=Timestamp(seconds=12))),
        pb.RecommendRequest(allow_items=["a"]),
        pb.RecommendRequest(category_filters=[pb.CategoryFilter(attribute="a", values=["b"])]),
        pb.RecommendRequest(min_position=pb.GraphPosition(next_offsets={0: 1})),
        pb.RecommendRequest(wait=Duration(seconds=20)),
        pb.RecommendRequest(count=0),
        pb.RecommendRequest(user="é" * 129),
    ],
)
def test_all_other_requests_are_left_to_protobuf(request_: pb.RecommendRequest) -> None:
    assert request_translation.read_request(request_.SerializeToString()) == request_
