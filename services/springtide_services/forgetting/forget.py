"""Forgetting a user or an item: the deletion is published, waited for, and proven."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from google.protobuf.message import Message
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from springtide.checkpoint import CheckpointStore
from springtide.clock import Deadline, wall_ms
from springtide.errors import CheckpointError, SpringtideError
from springtide.graph.applying import USER
from springtide.settings.model import Settings
from springtide.token_search import Token
from springtide.v1 import events_pb2, recommender_pb2
from springtide_services.forgetting.kafka_log import Log, search_log
from springtide_services.forgetting.search import Searched, places_of, search_all
from springtide_services.serving.client import AccessRefusedError, Client
from springtide_services.stream.broker_errors import BrokerProblemError, explain
from springtide_services.stream.kafka_facts import read_facts
from springtide_services.stream.producer import EventPublisher
from springtide_services.stream.topics import client_config, read_topic_facts

_POLL_S = 0.5
_MAX_ITEMS = 1_000  # Of the answer that an item is looked for in.
_PERSONAL = (recommender_pb2.PERSONALIZATION_LEARNED, recommender_pb2.PERSONALIZATION_FOLDED_IN)

Say = Callable[[str], None]
T = TypeVar("T", bound=Message)


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether an answer of the server tells something of the id.

    Attributes:
        name: Which answer.
        num_bytes: Its size.
        fault: What it tells, in words; empty if nothing.
    """

    name: str
    num_bytes: int
    fault: str


@dataclass(slots=True)
class Proof:
    """What the searches have found.

    Attributes:
        places: Files, place by place.
        answers: The server's answers; none if it was not asked.
        logs: Topics, whose records only the broker removes.
    """

    places: list[Searched]
    answers: list[Answer] = field(default_factory=list)
    logs: list[Log] = field(default_factory=list)

    @property
    def is_gone(self) -> bool:
        """Whether nothing was found but in Kafka."""
        return not any(each.num_found for each in self.places) and not any(each.fault for each in self.answers)


def publish_deletion(settings: Settings, node_type: str, node_id: str) -> tuple[int, int]:
    """Publish that a node is to be forgotten, with all that happened until now; return partition and offset.

    Raises:
        BrokerError: If no broker takes it.
    """
    event = events_pb2.Event(node_delete=events_pb2.NodeDelete(type=node_type, id=node_id))
    event.event_time.FromMilliseconds(wall_ms())
    with EventPublisher(settings) as publisher:
        return publisher.publish(event)


def await_applied(client: Client, partition: int, offset: int, deadline: Deadline) -> None:
    """Wait until the server has applied the record at an offset.

    Raises:
        ServerCallError: If it does not answer.
        SpringtideError: If it has not by then.
    """
    while client.status().position.next_offsets.get(partition, 0) <= offset:
        if deadline.is_over():
            raise SpringtideError(f"the server has not read offset {offset} of partition {partition} in time")
        time.sleep(_POLL_S)


def await_checkpoint(settings: Settings, partition: int, offset: int, deadline: Deadline) -> str:
    """Wait until each checkpoint that is kept holds the deletion; return the newest one's name.

    Raises:
        SpringtideError: If that is not so in time.
    """
    store, topic_id, fault = CheckpointStore(settings.checkpoint.url), _topic_id(settings), "there is none"
    while True:
        try:
            names = store.names()
            behind = [name for name in names if _reached(store, name, topic_id, partition) <= offset]
            if names and not behind:
                return names[0]
            fault = f"it is not in {', '.join(behind)}" if behind else "there is none"
        except CheckpointError as error:  # Such as one that was just deleted.
            fault = str(error)
        if deadline.is_over():
            raise SpringtideError(f"the checkpoints do not all hold the deletion in time: {fault}")
        time.sleep(_POLL_S)


def prove(
    settings: Settings,
    node_type: str,
    token: Token,
    client: Client | None,
    deadline: Deadline,
    say: Say,
    *,
    reads_topics: bool,
) -> Proof:
    """Search all that is kept, again and again until nothing is found or the time is over; then the topics, once.

    Args:
        settings: Where everything is.
        node_type: Type of the node.
        token: The id.
        client: A client of the server; None to ask none.
        deadline: Until when to search again.
        say: Called with what is still found, whenever that changes.
        reads_topics: Whether to read the topics.

    Raises:
        SpringtideError: If a place cannot be searched, or the broker does not answer.
    """
    proof = Proof([])
    said = ""
    while True:
        proof.places = search_all(places_of(settings), token, proof.places)
        proof.answers = [] if client is None else _ask(client, node_type, token)
        if proof.is_gone or deadline.is_over():
            break
        found = [f"{each.place.name} ({each.num_found:,} files)" for each in proof.places if each.num_found]
        found += [each.name for each in proof.answers if each.fault]
        if (words := ", ".join(found)) != said:
            say(f"still in: {words}")
            said = words
        time.sleep(_POLL_S)
    if reads_topics:
        say("reading both topics from their beginning to their end")
        facts = read_facts(settings)
        proof.logs = [search_log(settings.kafka, state, token) for state in (facts.events, facts.dead_letters)]
    return proof


def _topic_id(settings: Settings) -> str:
    try:
        with KafkaAdminClient(**client_config(settings.kafka)) as admin:
            facts = read_topic_facts(admin, settings.kafka.topic)
    except KafkaError as error:
        raise BrokerProblemError(explain(error, settings.kafka)) from error
    return "" if facts is None else facts.topic_id


def _reached(store: CheckpointStore, name: str, topic_id: str, partition: int) -> int:
    position = store.open(name).position
    if position is None or position.topic_id != topic_id:  # Of a topic before this one, as after `springtide up` again.
        return 0
    return position.next_offsets.get(partition, 0)


def _ask(client: Client, node_type: str, token: Token) -> list[Answer]:
    """Ask what could tell something of the node; what the token has no role for is not asked, and says so."""
    is_user = node_type == USER
    user = token.text if is_user else ""
    answers = []

    def ask(name: str, call: Callable[[], T], fault_of: Callable[[T], str]) -> T | None:
        try:
            answer = call()
        except AccessRefusedError:
            answers.append(Answer(f"{name}: not asked, the token has no role for it", 0, ""))
            return None
        answers.append(Answer(name, answer.ByteSize(), fault_of(answer)))
        return answer

    def fault_of(answer: recommender_pb2.RecommendResponse) -> str:
        if is_user and answer.personalization in _PERSONAL:
            return "is personal"
        return "has it" if any(item.item == token.text for item in answer.items) else ""

    def named_in(answer: Message) -> str:
        return "names it" if token.is_in_bytes(answer.SerializeToString()) else ""

    request = recommender_pb2.RecommendRequest(user=user, count=_MAX_ITEMS)
    recommended = ask("Recommend", lambda: client.recommend(request), fault_of)
    if is_user and recommended is not None and recommended.items:
        about = recommender_pb2.ExplainRequest(user=user, item=recommended.items[0].item)
        ask("Explain", lambda: client.explain(about), named_in)
    ask("GetStatus", client.status, named_in)
    ask("GetSteering", client.steering, named_in)
    return answers
