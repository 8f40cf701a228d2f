"""Packed fetch requests are kafka-python's to the byte, and responses are read as it reads them, or left to it."""

import random
from typing import Any

from kafka.protocol.consumer import FetchRequest, FetchResponse
from kafka.protocol.frame import KafkaBytes

from springtide_services.stream.fetch_wire import PlainFetch, PlainResponse, pack_request, pack_wanted, read_response

_TOPIC = FetchRequest.FetchTopic
_ANSWER = FetchResponse.FetchableTopicResponse


def test_a_request_is_the_one_that_kafka_python_would_send() -> None:
    for seed in range(200):
        rng = random.Random(seed)
        topic, client_id = rng.choice(("t", "springtide.events", "\u00e9" * 70)), rng.choice(("", "springtide.server"))
        wanted = [
            (rng.randrange(2_000), rng.randrange(-1, 9), rng.randrange(1 << 40), rng.randrange(-1, 9), 1_048_576)
            for _ in range(rng.choice((0, 1, 3, 200)))
        ]
        forgotten = [rng.randrange(2_000) for _ in range(rng.choice((0, 0, 1, 130)))]
        theirs = FetchRequest(
            max_wait_ms=500,
            min_bytes=1,
            max_bytes=52_428_800,
            isolation_level=1,
            session_id=seed * 9_999_991 % (1 << 31),
            session_epoch=seed,
            topics=[_TOPIC(topic=topic, partitions=[_wanted(*each) for each in wanted])] if wanted else [],
            forgotten_topics_data=[FetchRequest.ForgottenTopic(topic=topic, partitions=forgotten)] if forgotten else [],
            rack_id="",
            max_version=12,
        )
        theirs.API_VERSION = 12
        ours = PlainFetch(
            pack_request(
                topic,
                [pack_wanted(*each) for each in wanted],
                forgotten,
                (seed * 9_999_991 % (1 << 31), seed),
                max_wait_ms=500,
                min_bytes=1,
                max_bytes=52_428_800,
                isolation_level=1,
            )
        )
        for request in (theirs, ours):
            request.with_header(correlation_id=seed, client_id=client_id)
        assert ours.encode(framed=True, header=True) == bytes(theirs.encode(framed=True, header=True))


def test_a_response_is_read_as_kafka_python_reads_it() -> None:
    num_plain = 0
    for seed in range(300):
        rng = random.Random(seed)
        message = _response(rng)
        data = bytes(message.encode(version=12))
        ours = read_response(data)
        if ours is not None:
            num_plain += 1
            assert _content(ours) == _content(FetchResponse[12].decode(data))
        assert (ours is None) == _is_unusual(message)
        assert _content(PlainResponse.decode(_buffer(data))) == _content(FetchResponse[12].decode(data))
    assert 60 < num_plain < 240


def test_a_damaged_response_is_never_read_as_another() -> None:
    for seed in range(2_000):
        rng = random.Random(seed)
        data = bytearray(_response(rng, unusual=0.0).encode(version=12))
        if rng.random() < 0.5:
            del data[rng.randrange(len(data)) :]
        else:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        ours = read_response(bytes(data))
        if ours is not None:
            assert _content(ours) == _content(FetchResponse[12].decode(bytes(data)))


def test_a_frame_is_taken_only_if_it_is_the_whole_response_to_the_request() -> None:
    body = bytes(_response(random.Random(3), unusual=0.0).encode(version=12))
    request = PlainFetch(b"")
    request.with_header(7, "c")
    frame = (len(body) + 5).to_bytes(4, "big") + (7).to_bytes(4, "big") + b"\0" + body

    assert request.read_frame(frame) is not None
    assert request.read_frame(frame[:-1]) is None
    assert request.read_frame(frame + b"\0") is None
    assert request.read_frame(frame[:3]) is None
    assert request.read_frame(frame[:4] + (8).to_bytes(4, "big") + frame[8:]) is None, "another request's"


def _wanted(number: int, leader_epoch: int, offset: int, last_epoch: int, max_bytes: int) -> Any:
    return _TOPIC.FetchPartition(
        partition=number,
        current_leader_epoch=leader_epoch,
        fetch_offset=offset,
        last_fetched_epoch=last_epoch,
        partition_max_bytes=max_bytes,
    )


def _response(rng: random.Random, unusual: float = 0.05) -> Any:
    def is_unusual() -> bool:
        return rng.random() < unusual

    def partition() -> Any:
        data = _ANSWER.PartitionData(
            partition_index=rng.randrange(2_000),
            error_code=6 if is_unusual() else 0,
            high_watermark=rng.randrange(1 << 40),
            last_stable_offset=rng.randrange(1 << 40),
            log_start_offset=rng.randrange(1 << 40),
            aborted_transactions=rng.choice((None, [])),
            preferred_read_replica=2 if is_unusual() else -1,
            records=rng.randbytes(rng.choice((0, 1, 126, 127, 128, 20_000))),
        )
        if is_unusual():
            data.aborted_transactions = [_ANSWER.PartitionData.AbortedTransaction(producer_id=3, first_offset=4)]
        if is_unusual():
            data.current_leader = _ANSWER.PartitionData.LeaderIdAndEpoch(leader_id=1, leader_epoch=2)
        return data

    return FetchResponse(
        throttle_time_ms=rng.randrange(100),
        error_code=70 if is_unusual() else 0,
        session_id=rng.randrange(1 << 31),
        responses=[
            _ANSWER(topic="t" * rng.choice((1, 130)), partitions=[partition() for _ in range(rng.randrange(1, 6))])
            for _ in range(rng.randrange(3))
        ],
        version=12,
    )


def _is_unusual(message: Any) -> bool:
    return bool(message.error_code) or any(
        data.error_code
        or data.aborted_transactions
        or data.preferred_read_replica != -1
        or (data.current_leader is not None and data.current_leader.leader_id != -1)
        for topic in message.responses
        for data in topic.partitions
    )


def _content(response: Any) -> Any:
    return (
        response.throttle_time_ms,
        response.error_code,
        response.session_id,
        [
            (
                topic.topic,
                [
                    (
                        data.partition_index,
                        data.error_code,
                        data.high_watermark,
                        data.last_stable_offset,
                        len(data.aborted_transactions or ()),
                        data.preferred_read_replica,
                        bytes(data.records),
                    )
                    for data in topic.partitions
                ],
            )
            for topic in response.responses
        ],
    )


def _buffer(data: bytes) -> KafkaBytes:
    buffer = KafkaBytes(len(data))
    buffer.write(data)
    buffer.seek(0)
    return buffer
