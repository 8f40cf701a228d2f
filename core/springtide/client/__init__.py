"""A client of ``RecommenderService`` for Python: typed, with deadlines, careful retries, and reading of own writes.

The messages are those of the generated package, ``springtide.v1``:

    from springtide.client import Client, Tls, position_after
    from springtide.v1.recommender_pb2 import RecommendRequest

    with Client("recommender.example:443", token=token, tls=Tls()) as client:
        sent = producer.send(topic, event).get(timeout=5)  # Any Kafka client; its acknowledgement has both numbers.
        answer = client.recommend(
            RecommendRequest(user="ann", count=10),
            after=position_after((sent.partition, sent.offset)),  # The answer knows of the event.
            timeout_s=0.5,
        )
        print([item.item for item in answer.items])

``AsyncClient`` has the same methods, to be awaited.
"""

from springtide.client.asynchronous import AsyncClient
from springtide.client.blocking import Client
from springtide.client.connection import Tls
from springtide.client.errors import CallError
from springtide.client.positions import position_after
from springtide.client.retries import Retries

__all__ = ["AsyncClient", "CallError", "Client", "Retries", "Tls", "position_after"]
