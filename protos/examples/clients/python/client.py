"""The smallest whole client in Python: publish what a user did, and ask what to show next. See ../README.md."""

import os
import sys

import grpc
from kafka import KafkaProducer

from springtide.v1 import events_pb2, recommender_pb2, recommender_pb2_grpc

ADDRESS = os.environ.get("SPRINGTIDE_ADDRESS", "localhost:50051")
CA_FILE = os.environ.get("SPRINGTIDE_CA_FILE")  # Certificates to trust, as PEM; without it the channel is plaintext.
TOKEN = os.environ.get("SPRINGTIDE_TOKEN")
BROKERS = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092").split(",")
TOPIC = os.environ.get("SPRINGTIDE_TOPIC", "springtide.events")


def publish(user: str, item: str) -> tuple[int, int]:
    """Publish a purchase, and return the partition and the offset that the broker acknowledged."""
    event = events_pb2.Event(interaction=events_pb2.Interaction(user=user, item=item, type="purchase"))
    event.event_time.GetCurrentTime()
    producer = KafkaProducer(bootstrap_servers=BROKERS, acks="all")
    sent = producer.send(TOPIC, key=user.encode(), value=event.SerializeToString()).get(timeout=10)
    producer.close()
    return sent.partition, sent.offset


def connect() -> grpc.Channel:
    """Open a channel, with TLS where it is set."""
    if CA_FILE is None:
        return grpc.insecure_channel(ADDRESS)
    with open(CA_FILE, "rb") as file:
        return grpc.secure_channel(ADDRESS, grpc.ssl_channel_credentials(file.read()))


def main() -> None:
    """Ask for a user's recommendations; if an item is given, as they are once its purchase is in the graph."""
    user, item = (*sys.argv[1:], None)[:2]
    request = recommender_pb2.RecommendRequest(user=user, count=5)
    if item is not None:
        partition, offset = publish(user, item)
        request.min_position.next_offsets[partition] = offset + 1  # The answer waits for the event, up to a second.
    metadata = [("authorization", f"Bearer {TOKEN}")] if TOKEN else None
    with connect() as channel:
        recommender = recommender_pb2_grpc.RecommenderServiceStub(channel)
        response = recommender.Recommend(request, timeout=2.0, metadata=metadata)
    if response.is_behind_min_position:
        print("the server has not read the event yet", file=sys.stderr)
    for recommended in response.items:
        print(f"{recommended.item}\t{recommended.score:.4f}")


main()
