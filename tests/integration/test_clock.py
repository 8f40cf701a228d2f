"""As of when a request without a time is answered: over a real broker, a server, a client and the command line."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from springtide.checkpoint import CheckpointStore
from springtide.checkpoint.manifest import summary
from springtide.clock import LIVE_WITHIN_MS, MS_PER_DAY, wall_ms
from springtide.events.skips import Skips
from springtide.settings.model import RankingSettings, Settings
from springtide.v1 import admin_pb2, events_pb2
from springtide.v1 import recommender_pb2 as pb
from springtide_services.cli.answer_tables import show_pages
from springtide_services.cli.rebuild_run import RebuildRun
from springtide_services.cli.season_charts import season
from springtide_services.cli.status_tables import show_status
from springtide_services.cli.why_tables import ask_why, by_server
from springtide_services.serving.client import Client
from springtide_services.stream.producer import EventPublisher
from springtide_services.training.training_run import train_once

RunServer = Callable[..., AbstractAsyncContextManager[Any]]
Publish = Callable[[Settings, Sequence[events_pb2.Event]], pb.GraphPosition]
Eventually = Callable[..., Awaitable[float]]
END_MS = 893_286_638_000  # 1998-04-22 23:10:38 UTC, the last rating of MovieLens 100K.
K = 20


def purchase(user: str, item: str, at_ms: int) -> events_pb2.Event:
    event_time = Timestamp()
    event_time.FromMilliseconds(at_ms)
    return events_pb2.Event(
        event_time=event_time, interaction=events_pb2.Interaction(user=user, item=item, type="purchase")
    )


def past_events(end_ms: int) -> tuple[list[events_pb2.Event], dict[str, set[str]]]:
    """Return eight weeks of events, and what 60 users want next: each week other items are wanted."""
    draws = np.random.default_rng(7)
    events, wanted = [], {}
    num_weeks = 8
    for week in range(num_weeks):
        for number in range(300):
            at_ms = end_ms - (num_weeks - week) * 7 * MS_PER_DAY + (number + 1) * 7 * MS_PER_DAY // 300
            item = 10 * week + int(draws.exponential(4.0))
            events.append(purchase(f"u{draws.integers(60)}", f"i{item}", at_ms))
    for user in range(60):
        wanted[f"u{user}"] = {f"i{10 * (num_weeks - 1) + int(item)}" for item in draws.exponential(4.0, 3)}
    return events, wanted


def publish_all(settings: Settings, events: Sequence[events_pb2.Event]) -> None:
    with EventPublisher(settings) as publisher:
        publisher.publish_many(events)


@pytest.fixture
def seasonal(settings: Settings) -> Settings:
    """Settings with the weights that depend on the moment."""
    ranking = RankingSettings(
        context_weights={"popularity": {}, "calendar": {}, "trend": {}, "repeat": {}}, item_refresh_s=0.1
    )
    return settings.model_copy(update={"ranking": ranking})


async def answers(running: Any, users: Iterable[str], at_ms: int | None) -> dict[str, list[str]]:
    """Return the items that each user is answered with as of a time; without one if None."""
    ranked = {}
    for user in users:
        request = pb.RecommendRequest(user=user, count=K)
        if at_ms is not None:
            request.context.event_time.FromMilliseconds(at_ms)
        ranked[user] = [item.item for item in (await running.recommender.Recommend(request)).items]
    return ranked


def ndcg(ranked: dict[str, list[str]], wanted: dict[str, set[str]]) -> float:
    """Return the mean NDCG@20 of answers."""
    gains = []
    for user, items in wanted.items():
        gain = sum(1 / np.log2(2 + rank) for rank, item in enumerate(ranked[user]) if item in items)
        gains.append(gain / sum(1 / np.log2(2 + rank) for rank in range(len(items))))
    return float(np.mean(gains))


@pytest.mark.parametrize("has_model", [False, True])
def test_past_events_are_answered_without_a_time_as_at_their_end(
    seasonal: Settings, run_server: RunServer, eventually: Eventually, has_model: bool
) -> None:
    events, wanted = past_events(END_MS)

    async def scenario() -> None:
        async with run_server(seasonal) as running:
            publish_all(seasonal, events)

            async def has_all() -> bool:
                status = await running.admin.GetStatus(admin_pb2.GetStatusRequest())
                return sum(status.num_edges.values()) == len(events)

            await eventually(has_all)
            if has_model:
                await running.admin.StartTraining(admin_pb2.StartTrainingRequest())  # For its checkpoint.
                await asyncio.to_thread(train_once, seasonal)

                async def is_served() -> bool:
                    return (await running.recommender.Recommend(pb.RecommendRequest(user="u1"))).model_version != ""

                await eventually(is_served)

            async def is_as_at_end() -> bool:
                asked, at_end = await answers(running, wanted, None), await answers(running, wanted, END_MS)
                today = await answers(running, wanted, wall_ms())
                return asked == at_end and ndcg(asked, wanted) > 1.5 * ndcg(today, wanted)  # It makes a difference.

            # Weights of a moment may be some seconds old. While a refresh brings the last events into them, what is
            # asked after it is newer than what was asked before.
            await eventually(is_as_at_end)

    asyncio.run(scenario())


def test_answers_and_status_say_which_moment_they_speak_of(
    seasonal: Settings, run_server: RunServer, capsys: pytest.CaptureFixture[str]
) -> None:
    publish_all(seasonal, [purchase("ann", "nog", END_MS - 86_400_000), purchase("ann", "tea", END_MS)])

    def said(running: Any) -> str:
        address = running.server.address
        context = {"place": "", "weather": "", "recent_items": (), "as_json": False}
        with Client(address) as client:
            show_pages(client, pb.RecommendRequest(user="ann", count=3))
        ask_why(by_server(address), user="ann", item="nog", at=None, **context)
        show_status(running.server.admin_address, as_json=False)
        return " ".join(capsys.readouterr().out.split())

    async def scenario() -> None:
        async with run_server(seasonal) as running:
            text = await asyncio.to_thread(said, running)
            assert text.count("as of 1998-04-22 23:1") == 3
            assert text.count("UTC, the stream's time") == 3
            request = pb.ExplainRequest(user="ann", item="tea")
            explained = await running.recommender.Explain(request)
            assert explained.as_of_source == pb.MOMENT_SOURCE_STREAM
            assert 0 <= explained.as_of_ms - END_MS < 600_000
            request.context.event_time.FromMilliseconds(5_000)
            explained = await running.recommender.Explain(request)
            assert (explained.as_of_ms, explained.as_of_source) == (5_000, pb.MOMENT_SOURCE_GIVEN)

    asyncio.run(scenario())
    season(seasonal, name=None, top=3, at=None, min_count=0.0, weight_name="calendar", dataset=None, png=None)
    assert "In season on Wednesday, 22 April 1998 (the stream's time)" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("days_old", "name", "source"),
    [
        (0, "auto", pb.MOMENT_SOURCE_WALL),
        (LIVE_WITHIN_MS / MS_PER_DAY - 0.01, "auto", pb.MOMENT_SOURCE_WALL),
        (LIVE_WITHIN_MS / MS_PER_DAY + 0.01, "auto", pb.MOMENT_SOURCE_STREAM),
        (1, "stream", pb.MOMENT_SOURCE_STREAM),
        (400, "wall", pb.MOMENT_SOURCE_WALL),
    ],
)
def test_a_week_decides_between_the_clocks_and_a_setting_overrules_it(
    seasonal: Settings, run_server: RunServer, days_old: float, name: str, source: pb.MomentSource
) -> None:
    chosen = seasonal.model_copy(update={"ranking": seasonal.ranking.model_copy(update={"clock": name})})
    newest_ms = wall_ms() - round(days_old * MS_PER_DAY)
    publish_all(chosen, [purchase("ann", "nog", newest_ms)])

    async def scenario() -> None:
        async with run_server(chosen) as running:
            answer = await running.recommender.Recommend(pb.RecommendRequest(user="ann"))
            assert answer.as_of_source == source
            expected_ms = newest_ms if source == pb.MOMENT_SOURCE_STREAM else wall_ms()
            assert abs(answer.as_of_ms - expected_ms) < 600_000

    asyncio.run(scenario())


def test_an_event_of_today_is_answered_as_of_today_at_once(
    seasonal: Settings, run_server: RunServer, eventually: Eventually, publish: Publish
) -> None:
    publish_all(seasonal, [purchase("bob", "tea", END_MS), purchase("bob", "milk", END_MS)])
    position = publish(seasonal, [purchase("ann", "tea", END_MS)])
    [(partition, offset)] = position.next_offsets.items()

    async def scenario() -> None:
        async with run_server(seasonal) as running:
            request = pb.RecommendRequest(user="ann", min_position=position, view=pb.RECOMMEND_VIEW_FULL)
            answer = await running.recommender.Recommend(request)
            assert answer.as_of_source == pb.MOMENT_SOURCE_STREAM
            request.min_position.next_offsets[partition] = offset + 1  # It waits for an event that is yet to come.
            request.wait.FromSeconds(10)
            waiting = asyncio.ensure_future(running.recommender.Recommend(request))

            async def is_waiting() -> bool:
                return bool(running.server._recommender.loaded.positions._waiters)

            await eventually(is_waiting)
            await asyncio.to_thread(publish, seasonal, [purchase("ann", "nog", wall_ms())])
            answer = await waiting
            # The clock is read after the wait: as of 1998 the user's own event would not have happened yet.
            assert answer.as_of_source == pb.MOMENT_SOURCE_WALL
            repeat = list(answer.weight_names).index("repeat")
            weights = {item.item: item.weights[repeat] for item in answer.items}
            assert weights["nog"] != weights["milk"] == 1.0

    asyncio.run(scenario())


def test_an_event_ahead_of_its_time_moves_nobody_ahead(seasonal: Settings, run_server: RunServer) -> None:
    lenient = seasonal.model_copy(update={"events": seasonal.events.model_copy(update={"max_future_s": 1e9})})
    lenient = lenient.model_copy(update={"ranking": seasonal.ranking.model_copy(update={"clock": "stream"})})
    publish_all(lenient, [purchase("bob", "tea", END_MS), purchase("eve", "nog", wall_ms() + 3_000 * MS_PER_DAY)])

    async def scenario() -> None:
        async with run_server(lenient) as running:
            answer = await running.recommender.Recommend(pb.RecommendRequest(user="ann"))
            assert answer.as_of_ms <= wall_ms()

    asyncio.run(scenario())


@pytest.mark.long
def test_a_restart_and_a_rebuild_do_not_set_the_clock_back(
    seasonal: Settings, run_server: RunServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async def behind_ms(running: Any) -> tuple[int, int]:
        """Return between which two numbers it is: the server reads the clock while it is asked."""
        before_ms = wall_ms()
        status = await running.admin.GetStatus(admin_pb2.GetStatusRequest())
        assert status.as_of_source == pb.MOMENT_SOURCE_STREAM
        return before_ms - int(status.as_of_ms), wall_ms() - int(status.as_of_ms)

    async def scenario() -> list[tuple[int, int]]:
        found = []
        publish_all(seasonal, [purchase("bob", "tea", END_MS)])
        async with run_server(seasonal) as running:
            found.append(await behind_ms(running))
        await asyncio.sleep(2.0)  # Nothing came since, and time went on.
        async with run_server(seasonal) as running:
            found.append(await behind_ms(running))
            rebuild = RebuildRun(seasonal, running.server.admin_address)
            arguments = {"from_what_is_left": False, "forgets_skips": False, "confirm": lambda question: None}
            await asyncio.to_thread(rebuild.run, Skips(), **arguments)
            found.append(await behind_ms(running))
        # What came after the last checkpoint is read again later than it came; its records say when that was.
        before_ms = wall_ms()
        publish_all(seasonal, [purchase("ann", "nog", END_MS + MS_PER_DAY)])
        found.append((before_ms - END_MS - MS_PER_DAY, wall_ms() - END_MS - MS_PER_DAY))
        await asyncio.sleep(2.0)  # As above.
        async with run_server(seasonal) as running:
            found.append(await behind_ms(running))
        return found

    first, restarted, rebuilt, published, read_again = asyncio.run(scenario())
    for same in ((first, restarted), (first, rebuilt), (published, read_again)):
        assert max(least for least, _ in same) <= min(most for _, most in same)
    capsys.readouterr()


def test_a_checkpoint_of_before_the_clock_tells_the_time_it_was_written_at(
    seasonal: Settings, run_server: RunServer
) -> None:
    publish_all(seasonal, [purchase("bob", "tea", END_MS)])

    async def scenario() -> None:
        async with run_server(seasonal):
            pass

    asyncio.run(scenario())
    checkpoint = CheckpointStore(seasonal.checkpoint.url).latest()
    assert checkpoint is not None
    former = dict(checkpoint.manifest)
    assert abs(checkpoint.created_ms - END_MS - former.pop("behind_ms")) < 600_000
    assert summary(former).behind_ms == checkpoint.created_ms - END_MS
