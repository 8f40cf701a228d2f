"""From publishing a purchase to the answer that knows it; and how long answers take while much else goes on."""

import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
from benches.children import METHOD
from benches.figures import Figure, Limit, percentile
from benches.serving import Serving, child, serving
from benches.sizes import Sizes
from google.protobuf.duration_pb2 import Duration

from springtide.settings.model import TrainingSettings
from springtide.v1 import events_pb2, recommender_pb2_grpc
from springtide.v1 import recommender_pb2 as pb
from springtide_services.stream.producer import EventPublisher

_INGEST_PER_S = 20_000
_TURN_S = 0.25
_OURS, _ECHO = "Recommend", "bare grpc.aio echo"


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
    """Ask alone; while events come in; while a training runs as niced as it is; and while both go on.

    A bare echo is asked in turns with the server: what it takes longer is what the machine does to any server here.
    """
    trainer = server.settings.model_copy(update={"training": TrainingSettings()})
    of = (sizes.served_interactions, sizes.users, sizes.items)

    def ingest() -> contextlib.AbstractContextManager[object]:
        return child("publish", server.settings.model_dump_json(), str(_INGEST_PER_S))

    def training() -> contextlib.AbstractContextManager[object]:
        return child("train", trainer.model_dump_json(), *map(str, of))

    events = f"{_INGEST_PER_S:,} events/s come in"
    figures: list[Figure] = []
    answer = recommender_pb2_grpc.RecommenderServiceStub(channel).Recommend(
        pb.RecommendRequest(user=server.interactions.user_ids[0])
    )
    with (
        child("echo", str(answer.ByteSize())) as echo,
        grpc.insecure_channel(echo.line) as echo_channel,
    ):
        alone: dict[str, _Asked] = {}
        for what, others in {
            "alone": (),
            f"while {events}": (ingest,),
            "while a training runs": (training,),
            f"while {events} and a training runs": (training, ingest),
        }.items():
            with contextlib.ExitStack() as running:
                for other in others:
                    running.enter_context(other())
                time.sleep(sizes.load_s)
                now = _ask_in_turns(server, channel, echo_channel, sizes)
            alone = alone or now
            for name, asked in now.items():
                figures += [
                    Figure(
                        f"{name} {what}, p{100 * share:.0f}",
                        "ms",
                        [percentile(asked.taken_ms, share)],
                        Limit("alone", [percentile(alone[name].taken_ms, share)]) if others else None,
                    )
                    for share in (0.5, 0.99)
                ]
            figures.append(Figure(f"the server's threads {what}, cores in use", "cores", [now[_OURS].ran]))
            figures.append(Figure("the same, waiting for a core", "cores", [now[_OURS].waited]))
            if ingest in others:
                figures.append(Figure("events that came in meanwhile", "events/s", [now[_OURS].events_per_s]))
    return figures


@dataclass(slots=True)
class _Asked:
    """What each request took; and of the server meanwhile: cores that it used and waited for, and events it applied."""

    taken_ms: list[float] = field(default_factory=list)
    ran: float = 0.0
    waited: float = 0.0
    events_per_s: float = 0.0


def _ask_in_turns(
    server: Serving, channel: grpc.Channel, echo_channel: grpc.Channel, sizes: Sizes
) -> dict[str, _Asked]:
    """Ask the server and the echo in turns of a quarter of a second, one request after the other."""
    random = np.random.default_rng(2)
    users = server.interactions.user_ids
    calls = {
        name: of.unary_unary(METHOD, pb.RecommendRequest.SerializeToString, None)
        for name, of in ((_OURS, channel), (_ECHO, echo_channel))
    }
    asked = {name: _Asked() for name in calls}
    began_at = _next_offset(channel, users[0])
    began, (ran, waited) = time.perf_counter(), _scheduled_s(server.pid)
    end = began + 2 * sizes.repetitions * sizes.load_s
    while time.perf_counter() < end:
        for name, call in calls.items():
            turn_ends = time.perf_counter() + _TURN_S
            while (begun := time.perf_counter()) < turn_ends:
                call(pb.RecommendRequest(user=users[int(random.integers(len(users)))]))
                asked[name].taken_ms.append(1_000 * (time.perf_counter() - begun))
    took_s, (ran_now, waited_now) = time.perf_counter() - began, _scheduled_s(server.pid)
    ours = asked[_OURS]
    ours.ran, ours.waited = (ran_now - ran) / took_s, (waited_now - waited) / took_s
    ours.events_per_s = (_next_offset(channel, users[0]) - began_at) / took_s
    return asked


def _next_offset(channel: grpc.Channel, user: str) -> int:
    answer = recommender_pb2_grpc.RecommenderServiceStub(channel).Recommend(pb.RecommendRequest(user=user))
    return sum(answer.position.next_offsets.values())


def _scheduled_s(pid: int) -> tuple[float, float]:
    """Return for how long the threads of a process have run, and for how long they could have but had no core."""
    ran = waited = 0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # The thread has ended.
            on_core, in_queue, _ = task.read_text(encoding="ascii").split()
            ran, waited = ran + int(on_core), waited + int(in_queue)
    return ran / 1e9, waited / 1e9
