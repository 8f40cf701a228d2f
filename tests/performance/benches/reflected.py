"""From publishing a purchase to an answer that leaves the item out, while 5,000 other events come in each second.

On the Kafka that KAFKA_BOOTSTRAP_SERVERS names; without one, on the embedded broker. The clock starts when the purchase
is handed to the producer. One who asks with the position of the acknowledgement waits in the server (read your writes);
one without it asks again and again. Beside it stands the way to the broker and back, without a server: when a bare poll
loop of librdkafka has the record, beside the same 5,000 events.

Each answer is checked: one whose position holds the purchase, and which still has the item, is wrong.
"""

import random
import tempfile
import time

import grpc
from benches.figures import Figure, Limit, percentile
from benches.freshness import (
    FEW,
    NUM_ITEMS,
    brokers,
    librdkafka_loop,
    make_producer,
    publish,
    published,
    random_event,
    topic,
)
from benches.serving import child, wait_until_ready
from benches.sizes import Sizes
from google.protobuf.duration_pb2 import Duration

from springtide.settings.model import Settings
from springtide.v1 import recommender_pb2 as pb
from springtide.v1 import recommender_pb2_grpc

_PER_S = 5_000
_BUDGET_S = 30.0


def run(sizes: Sizes) -> list[Figure]:
    with brokers() as servers:
        with (
            tempfile.TemporaryDirectory(prefix="springtide-bench-") as folder,
            topic(servers, FEW, folder) as settings,
            published(settings, _PER_S, sizes),
        ):
            trips_ms = _round_trips(settings, sizes)
        with (
            tempfile.TemporaryDirectory(prefix="springtide-bench-") as folder,
            topic(servers, FEW, folder) as settings,
            child("serve", settings.model_dump_json()) as server,
            grpc.insecure_channel(server.line) as channel,
            published(settings, _PER_S, sizes),
        ):
            wait_until_ready(server.line)
            asker = _Asker(settings, channel)
            positions_ms = [asker.with_position() for _ in range(sizes.freshness_events)]
            polled_ms = [asker.by_asking_again() for _ in range(max(2, sizes.freshness_events // 5))]
    assert not asker.num_wrong, f"{asker.num_wrong} answers lacked a purchase that their position holds"
    figures = []
    for who, taken_ms in (("asked with the position", positions_ms), ("asked again and again", polled_ms)):
        what = f"publish to reflected, {who}, {_PER_S:,} events/s behind it"
        p50, p99 = ([percentile(each, share) for each in (taken_ms, trips_ms)] for share in (0.5, 0.99))
        figures += [
            Figure(f"{what}, p50", "ms", [p50[0]], Limit("librdkafka's bare round trip", [p50[1]])),
            Figure(f"{what}, p99", "ms", [p99[0]], Limit("librdkafka's bare round trip, p99", [p99[1]])),
        ]
    return [
        *figures,
        Figure("wrong answers that hold a purchase by their position", "answers", [asker.num_wrong]),
        Figure("answers checked for it", "answers", [asker.num_checked]),
    ]


def _round_trips(settings: Settings, sizes: Sizes) -> list[float]:
    """Publish events one by one; return how long each took, in ms, to the broker and to a bare poll loop."""
    producer, chance, taken_ms = make_producer(settings.kafka), random.Random(6), []
    with librdkafka_loop(settings.kafka) as poll:
        for _ in range(max(2, sizes.freshness_events // 2)):
            paused = time.perf_counter() + chance.uniform(0.0, 0.02)
            while (left_s := paused - time.perf_counter()) > 0:
                poll(left_s)  # What the others publish, as a reader does that keeps up.
            started = time.perf_counter()
            place = publish(producer, settings.kafka.topic, random_event(chance))
            while place not in poll(1.0):
                assert time.perf_counter() < started + _BUDGET_S, f"librdkafka did not read {place}"
            taken_ms.append(1_000 * (time.perf_counter() - started))
    return taken_ms


class _Asker:
    """Publishes purchases of users of its own, one each, and asks until an answer leaves the item out.

    Attributes:
        num_checked: Answers whose position holds the purchase.
        num_wrong: Those of them that still have the item.
    """

    def __init__(self, settings: Settings, channel: grpc.Channel) -> None:
        self.num_checked = self.num_wrong = 0
        self._topic = settings.kafka.topic
        self._producer = make_producer(settings.kafka)
        self._recommend = recommender_pb2_grpc.RecommenderServiceStub(channel).Recommend
        self._chance = random.Random(8)
        self._num_published = 0

    def with_position(self) -> float:
        """Return how many ms it took until an answer came that waited for the purchase's position."""
        started, user, item, position = self._publish()
        answer = self._ask(user, min_position=position, wait=Duration(seconds=10))
        taken_ms = 1_000 * (time.perf_counter() - started)
        assert not answer.is_behind_min_position, f"{user}'s purchase was not applied within 10 s"
        self._is_reflected(answer, item, position)
        self._is_reflected(self._ask(user), item, position)  # And it stays so.
        return taken_ms

    def by_asking_again(self) -> float:
        """Return how many ms it took until an answer left the item out, asking again as soon as one came."""
        started, user, item, position = self._publish()
        while not self._is_reflected(self._ask(user), item, position):
            assert time.perf_counter() < started + _BUDGET_S, f"{user}'s purchase of {item} was never reflected"
        return 1_000 * (time.perf_counter() - started)

    def _publish(self) -> tuple[float, str, str, pb.GraphPosition]:
        time.sleep(self._chance.uniform(0.0, 0.02))  # At any moment between two fetches.
        self._num_published += 1
        event = random_event(self._chance)
        event.interaction.user = f"asker-{self._num_published}"  # Nobody else buys for them.
        started = time.perf_counter()
        partition, offset = publish(self._producer, self._topic, event)
        position = pb.GraphPosition(next_offsets={partition: offset + 1})
        return started, event.interaction.user, event.interaction.item, position

    def _ask(self, user: str, **more: pb.GraphPosition | Duration) -> pb.RecommendResponse:
        request = pb.RecommendRequest(user=user, count=NUM_ITEMS, exclude_seen=["*"], **more)
        return self._recommend(request, timeout=20)

    def _is_reflected(self, answer: pb.RecommendResponse, item: str, position: pb.GraphPosition) -> bool:
        is_left_out = bool(answer.items) and all(each.item != item for each in answer.items)
        [(partition, next_offset)] = position.next_offsets.items()
        if answer.position.next_offsets[partition] >= next_offset:
            self.num_checked += 1
            self.num_wrong += not is_left_out
        return is_left_out
