"""Files of events, from `springtide publish` over the broker to a server's answers."""

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from springtide.settings.model import Settings
from springtide.v1 import admin_pb2, events_pb2
from springtide.v1 import recommender_pb2 as pb
from springtide_services.cli.app import app
from springtide_services.stream.producer import EventPublisher

RunServer = Callable[..., AbstractAsyncContextManager[Any]]
Eventually = Callable[..., Awaitable[float]]
Publish = Callable[..., Awaitable[Result]]

LONG = "12345678901234567890"
ROWS = [("007", "1e5"), ("007", LONG), (LONG, "1e5"), (LONG, "NaN")]


def _csv(delimiter: str = ",", quote: str = "") -> str:
    lines = [("user", "item", "type", "event_time"), *((*row, "purchase", "1514764800") for row in ROWS)]
    return "".join(delimiter.join(f"{quote}{field}{quote}" for field in line) + "\r\n" for line in lines)


def _json_lines() -> str:
    return "".join(
        f'{{"user": "{user}", "item": {item}, "type": "purchase", "time": 1514764800}}\n' for user, item in ROWS[:3]
    ) + json.dumps({"user": LONG, "item": "NaN", "type": "purchase", "time": "2018-01-01"})


def _write_parquet(path: Path) -> None:
    users, items = zip(*ROWS, strict=True)
    columns = {"user": pa.array(users).dictionary_encode(), "item": pa.array(items), "type": ["purchase"] * len(ROWS)}
    times = pa.array([17_532] * len(ROWS), pa.int32()).cast(pa.date32())
    pq.write_table(pa.table({**columns, "event_time": times, "__index_level_0__": range(len(ROWS))}), path)


@pytest.fixture
def publish(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Run the command in a folder of its own: ``await publish("a.csv", "--resume")``."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "springtide.toml").write_text(
        f'[kafka]\nbootstrap_servers = "{settings.kafka.bootstrap_servers}"\ntopic = "{settings.kafka.topic}"\n'
    )

    async def run(*arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, ["publish", *arguments])

    return run


async def _status(running: Any) -> admin_pb2.GetStatusResponse:
    status: admin_pb2.GetStatusResponse = await running.admin.GetStatus(admin_pb2.GetStatusRequest())
    return status


def test_every_form_of_a_file_gives_the_same_events_and_ids_stay_text(
    settings: Settings, run_server: RunServer, eventually: Eventually, publish: Publish, tmp_path: Path
) -> None:
    files = {
        "quoted.csv": _csv(quote='"').encode(),
        "mark.csv": ("\ufeff" + _csv()).encode(),
        "semicolons.csv.gz": gzip.compress(_csv(";").encode()),
        "wide.tsv": _csv("\t").encode("utf-16"),
        "recbole.inter": _csv("\t").replace("user\t", "user_id:token\t").encode(),
        "lines.jsonl": _json_lines().encode(),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    _write_parquet(tmp_path / "table.parquet")

    async def scenario() -> None:
        async with run_server(settings) as running:
            for name in [*files, "table.parquet"]:
                done = await publish(name)
                assert done.exit_code == 0, done.output

            async def has_all() -> bool:
                status = await _status(running)
                return status.num_edges["user:purchase:item"] + status.num_duplicates == 7 * len(ROWS)

            await eventually(has_all)
            status = await _status(running)
            # The ids of the events do not depend on the form of the file: each counts once.
            assert status.num_edges["user:purchase:item"] == len(ROWS)
            assert (status.num_nodes["user"], status.num_nodes["item"]) == (2, 3)
            assert not status.num_dead_letters
            answer = await running.recommender.Recommend(pb.RecommendRequest(user="007", count=5))
            assert {item.item for item in answer.items} == {"1e5", LONG, "NaN"}

    asyncio.run(scenario())


def test_equal_rows_count_each_and_publishing_again_or_resuming_counts_none_twice(
    settings: Settings,
    run_server: RunServer,
    eventually: Eventually,
    publish: Publish,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = "".join(f"u{n % 7},i,purchase,{1_514_764_800 + n // 14}\n" for n in range(11_200))  # Each row twice.
    (tmp_path / "a.csv").write_text(f"user,item,type,event_time\n{rows}")
    send, num_sent = EventPublisher._send_packed, 0

    def interrupted(self: EventPublisher, value: bytes, partition: int) -> Any:
        nonlocal num_sent
        num_sent += len(events_pb2.Event.FromString(value).batch.users)
        if num_sent > 10_000:
            raise KeyboardInterrupt
        return send(self, value, partition)

    async def scenario() -> None:
        async with run_server(settings) as running:
            with monkeypatch.context() as patched:
                patched.setattr(EventPublisher, "_send_packed", interrupted)
                done = await publish("a.csv")
            assert "published 10,000 of 11,200 events, up to row 10,000 (line 10,001)" in done.output
            done = await publish("a.csv", "--resume")
            assert "published 1,200 events" in done.output
            done = await publish("a.csv")
            assert "all 11,200 events were published before; they are sent again, with the same ids" in done.output

            async def has_all() -> bool:
                return bool((await _status(running)).num_duplicates >= 11_200)

            await eventually(has_all)
            status = await _status(running)
            assert (status.num_edges["user:purchase:item"], status.num_duplicates) == (11_200, 11_200)

    asyncio.run(scenario())


def test_file_with_one_bad_row_leaves_the_stream_as_it_was(
    settings: Settings, run_server: RunServer, publish: Publish, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text(f"{_csv()}u,,purchase,2018-01-01\r\n")

    async def scenario() -> None:
        async with run_server(settings) as running:
            done = await publish("a.csv")
            assert done.exit_code == 1
            assert "row 5 (line 6), column 'item': no item\nNothing was published." in str(done.exception)
            assert not (await _status(running)).num_edges

    asyncio.run(scenario())
