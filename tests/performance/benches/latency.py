"""From publishing a purchase to the answer that knows it; and how long answers take while much else goes on."""

import time
from collections.abc import Sequence

import grpc
import numpy as np
from benches.figures import Figure, Limit, percentile
from benches.serving import Serving, child, serving
from benches.sizes import Sizes
from google.protobuf.duration_pb2 import Duration

from springtide.settings.model import TrainingSettings
from springtide.v1 import events_pb2, recommender_pb2_grpc
from springtide.v1 import recommender_pb2 as pb
from springtide_services.stream.producer import EventPublisher

_INGEST_PER_S = 20_000


def run(sizes: Sizes) -> list[Figure]:
    random = np.random.default_rng(1)
    taken, floor = [], []
    with serving(sizes) as server, grpc.insecure_channel(server.address) as channel:
        recommend = recommender_pb2_grpc.RecommenderServiceStub(channel).Recommend
        interactions = server.interactions
        with EventPublisher(server.settings) as publisher:
            for _ in range(sizes.purchases):
                user = interactions.user_ids[int(random.integers(len(interactions.user_ids)))]
                item = interactions.item_ids[int(random.integers(len(interactions.item_ids)))]
                started = time.perf_counter()
                before = recommend(pb.RecommendRequest(user=user))
                asked_s = time.perf_counter() - started
                event = events_pb2.Event(interaction=events_pb2.Interaction(user=user, item=item, type="purchase"))
                event.event_time.GetCurrentTime()
                started = time.perf_counter()
                partition, offset = publisher.publish(event)
                acknowledged_s = time.perf_counter() - started
                position = pb.GraphPosition(next_offsets={partition: offset + 1})
                after = recommend(
                    pb.RecommendRequest(user=user, min_position=position, wait=Duration(seconds=5)), timeout=10
                )
                taken.append(1_000 * (time.perf_counter() - started))
                floor.append(1_000 * (acknowledged_s + asked_s))
                assert not after.is_behind_min_position
                assert after.items != before.items, f"the answer for {user} does not know of {item}"
        beside = _beside_others(server, channel, sizes)
    return [
        *beside,
        Figure("publish to answer", "ms", taken, Limit("acknowledgement plus an answer that waits for nothing", floor)),
        Figure("publish to answer, p99", "ms", [percentile(taken, 0.99)], Limit("the same", [percentile(floor, 0.99)])),
    ]


def _beside_others(server: Serving, channel: grpc.Channel, sizes: Sizes) -> list[Figure]:
    """Ask one request after the other: alone; and while many events come in, and a training runs as niced as it is."""
    random = np.random.default_rng(2)
    asked = sizes.repetitions * sizes.load_s
    alone_ms, *_ = _ask(server, channel, random, asked)
    trainer = server.settings.model_copy(update={"training": TrainingSettings()})
    of = (sizes.served_interactions, sizes.users, sizes.items)
    with (
        child("train", trainer.model_dump_json(), *map(str, of)),
        child("publish", server.settings.model_dump_json(), str(_INGEST_PER_S)),
    ):
        time.sleep(sizes.load_s)
        busy_ms, num_events, took_s = _ask(server, channel, random, asked)
    what = f"Recommend while {_INGEST_PER_S:,} events/s come in and a training runs"
    p50, p99 = ([percentile(each, share) for each in (busy_ms, alone_ms)] for share in (0.5, 0.99))
    return [
        Figure(f"{what}, p50", "ms", [p50[0]], Limit("alone", [p50[1]])),
        Figure(f"{what}, p99", "ms", [p99[0]], Limit("alone", [p99[1]])),
        Figure("events that came in meanwhile", "events/s", [num_events / took_s]),
    ]


def _ask(
    server: Serving, channel: grpc.Channel, random: np.random.Generator, seconds: float
) -> tuple[Sequence[float], int, float]:
    """Ask one request after the other; return what each took in ms, the events that came meanwhile, and the time."""
    recommend = recommender_pb2_grpc.RecommenderServiceStub(channel).Recommend
    users = server.interactions.user_ids
    taken_ms: list[float] = []
    first: int | None = None
    started = time.perf_counter()
    while (begun := time.perf_counter()) < started + seconds or not taken_ms:
        answer = recommend(pb.RecommendRequest(user=users[int(random.integers(len(users)))]))
        taken_ms.append(1_000 * (time.perf_counter() - begun))
        last = sum(answer.position.next_offsets.values())
        first = last if first is None else first
    return taken_ms, last - (first or 0), time.perf_counter() - started
