"""From publishing a purchase to the answer that knows it."""

import time

import grpc
import numpy as np
from benches.figures import Figure, Limit, percentile
from benches.serving import serving
from benches.sizes import Sizes
from google.protobuf.duration_pb2 import Duration

from springtide.v1 import events_pb2, recommender_pb2_grpc
from springtide.v1 import recommender_pb2 as pb
from springtide_services.stream.producer import EventPublisher


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
    return [
        Figure("publish to answer", "ms", taken, Limit("acknowledgement plus an answer that waits for nothing", floor)),
        Figure("publish to answer, p99", "ms", [percentile(taken, 0.99)], Limit("the same", [percentile(floor, 0.99)])),
    ]
