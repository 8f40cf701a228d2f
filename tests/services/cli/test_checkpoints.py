"""The `checkpoints` commands: a damaged newest checkpoint is found, and an older one takes its place."""

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from springtide.checkpoint import CheckpointLock, CheckpointStore
from springtide.errors import CheckpointError, CheckpointLockedError
from springtide.events.model import EventBatch, Interactions
from springtide.settings.model import Settings
from springtide.state import LiveState, StreamGap, StreamPosition
from springtide_services.cli.app import app


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Two checkpoints, of 50 and 60 events."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPRINGTIDE_SETTINGS", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    url = str(tmp_path / "checkpoints")
    monkeypatch.setenv("SPRINGTIDE_CHECKPOINT__URL", url)
    state, store = LiveState(Settings(), {}), CheckpointStore(url)
    state.position = StreamPosition("events", "id", {0: 0, 1: 0})
    for count, now_ms in ((50, 1_700_000_000_000), (10, 1_700_000_060_000)):
        zeros = np.zeros(count, np.int32)
        columns = (["u"], zeros, ["i"], zeros, ["purchase"], zeros.astype(np.int16))
        times = np.arange(count, dtype=np.int64)
        state.apply(EventBatch(Interactions(*columns, times, np.full(count, np.nan, np.float32))))
        state.advance({0: state.num_events})
        store.write(state.snapshot(), now_ms)
    return url


def run(*arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(app, ["checkpoints", *arguments], input=answer)


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def newest_file(url: str) -> Path:
    return Path(url) / "segments" / "00000002-edges0-50.arrays"


def test_the_list_says_what_each_checkpoint_holds(url: str) -> None:
    newest_file(url).unlink()
    _, newer, older, hint = run("list").output.splitlines()

    assert re.split(r"\s{2,}", newer) == [
        *("00000002", "2023-11-14 22:14 UTC", "60", "60", "0.0", "1 missing", "events 0:60 1:0")
    ]
    assert re.split(r"\s{2,}", older) == [
        *("00000001", "2023-11-14 22:13 UTC", "50", "50", "0.0", "exist", "events 0:50 1:0")
    ]
    assert "checkpoints verify" in hint


def test_an_empty_store_is_said_to_be_empty(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPRINGTIDE_CHECKPOINT__URL", str(tmp_path / "nothing"))
    for command in ("list", "verify"):
        done = run(command)
        assert (done.exit_code, "no checkpoints yet in" in done.output) == (0, True)
    with pytest.raises(CheckpointError, match=r"no checkpoint '00000001' \(choices: none\)"):
        raise_error(run("use", "00000001"))
    assert not (tmp_path / "nothing").exists()


def raise_error(done: Result) -> None:
    assert done.exception is not None
    raise done.exception


def test_verifying_names_the_damaged_file_and_fails(url: str) -> None:
    assert [(done := run("verify")).exit_code, done.output.split()] == [0, ["00000002", "whole", "00000001", "whole"]]
    damage(newest_file(url))

    done = run("verify")

    assert done.exit_code == 1
    newer, fault, older = done.output.splitlines()
    assert (newer, older) == ("00000002  damaged", "00000001  whole")
    assert f"{newest_file(url)}: damaged: wanted CRC-32C" in fault
    assert run("verify", "00000001").exit_code == 0
    assert run("verify", "00000002").exit_code == 1


@pytest.mark.parametrize("part", ["manifest", "segment"])
def test_an_older_checkpoint_takes_the_place_of_a_damaged_one_which_stays(url: str, part: str) -> None:
    damaged = newest_file(url) if part == "segment" else Path(url) / "manifests" / "00000002.json"
    damage(damaged)
    content = damaged.read_bytes()

    done = run("use", "00000001", "--yes")

    assert done.exit_code == 0, done.output
    assert "events 0:50 1:0 on" in done.output
    assert "00000003, a copy of 00000001, is the newest checkpoint" in done.output
    store, state = CheckpointStore(url), LiveState(Settings(), {})
    latest = store.latest()
    assert latest is not None
    store.restore(latest, state)
    assert (latest.name, state.num_events, state.position) == (
        "00000003",
        50,
        StreamPosition("events", "id", {0: 50, 1: 0}),
    )
    assert damaged.read_bytes() == content
    assert "(copy of 00000001)" in run("list").output
    assert "is the newest checkpoint already" in run("use", "00000003").output


def test_a_damaged_checkpoint_is_not_used(url: str) -> None:
    damage(newest_file(url))
    run("use", "00000001", "--yes")
    with pytest.raises(CheckpointError, match=r"checkpoint 00000002 cannot be used: .*damaged"):
        raise_error(run("use", "00000002", "--yes"))
    assert CheckpointStore(url).names()[0] == "00000003"


def test_who_does_not_confirm_changes_nothing(url: str) -> None:
    for answer in ("n\n", ""):
        done = run("use", "00000001", answer=answer)
        assert (done.exit_code, "Make 00000001 the newest checkpoint?" in done.output) == (1, True)
    assert CheckpointStore(url).names() == ["00000002", "00000001"]
    assert run("use", "00000001", answer="y\n").exit_code == 0
    assert CheckpointStore(url).names()[0] == "00000003"


def test_no_other_checkpoint_is_used_while_a_server_writes(url: str) -> None:
    with CheckpointLock(url), pytest.raises(CheckpointLockedError, match="stop that process"):
        raise_error(run("use", "00000001", "--yes"))
    assert CheckpointStore(url).names() == ["00000002", "00000001"]


def test_gaps_of_the_stream_are_listed_and_shown(url: str) -> None:
    assert "gaps" not in run("list").output
    state, store = LiveState(Settings(), {}), CheckpointStore(url)
    newest = store.latest()
    assert newest is not None
    store.restore(newest, state)
    gaps = [
        StreamGap("events", 1, 4, 8, "damaged", 1_700_000_120_000, None),
        StreamGap("events", 1, 8, 9, "damaged", 1_700_000_130_000, None),
        StreamGap("events", 0, 60, 1_060, "retention", 1_700_000_120_000, None),
        StreamGap("events", 0, 1_060, 0, "recreated", 1_700_000_180_000, None),
    ]
    for gap in gaps:
        state.skip_to(StreamPosition("events", "id", {0: 0, 1: 9}), [gap])
    store.write(state.snapshot(), 1_700_000_240_000)

    header, newest_line, older_line, *_ = run("list").output.splitlines()
    assert header.split()[-1] == "gaps"
    assert re.split(r"\s{2,}", newest_line.strip())[-1] == "3", "damaged records in a row are one gap"
    assert re.split(r"\s{2,}", older_line.strip())[-1] == "0"
    shown = " ".join(run("show").output.split())
    assert "skipped events partition 1: 5 events, offsets 4 to 8 (damaged), found 2023-11-14 22:15 UTC" in shown
    assert "skipped events partition 0: 1,000 events, offsets 60 to 1059 (retention), found 2023-11-14" in shown
    assert "skipped events partition 0: events from offset 1060 on, read on at 0 (recreated)" in shown
