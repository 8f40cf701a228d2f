"""What the `checkpoints` commands do, and the tables that they print."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from rich.markup import escape
from rich.table import Table

from springtide.checkpoint import Checkpoint, CheckpointLock, CheckpointStore
from springtide.checkpoint import manifest as manifests
from springtide.checkpoint.inspection import CheckpointCondition, CheckpointInspector
from springtide.checkpoint.lock_holder import LockHolder
from springtide.checkpoint.lock_timing import LockTiming
from springtide.clock import MS_PER_SECOND, wall_ms
from springtide.errors import CheckpointError
from springtide.settings.model import Settings
from springtide.state import StreamGap, StreamPosition
from springtide_services.terminal import console

_BYTES_PER_MB = 1_000_000


def show_checkpoints(settings: Settings) -> None:
    """Print the checkpoints, newest first, and whether their files exist; then the damaged ones that were set aside."""
    store = _store(settings)
    conditions = CheckpointInspector(store, reads_files=False).inspect_all()
    aside = store.all_set_aside()
    if not conditions:
        console().print(_none_yet(settings))
    else:
        _print_conditions(conditions)
    for each in aside:
        console().print(f"{each.name}  {_damaged()}, set aside {_when(each.found_ms)}: {escape(each.fault)}")


def _print_conditions(conditions: Sequence[CheckpointCondition]) -> None:
    gaps = [_gaps(condition.checkpoint) for condition in conditions]
    names = ["name", "made", "events", "edges", "MB", "files", "next offsets"]
    if any(gaps):
        names.append("gaps")
    table = Table(*names, box=None, pad_edge=False)
    for condition, skipped in zip(conditions, gaps, strict=True):
        table.add_row(condition.name, *_columns(condition), *([str(len(skipped))] if any(gaps) else []))
    console().print(table)
    if any(gaps):
        console().print("[dim]gaps are events that were skipped: `springtide checkpoints show NAME` lists them")
    console().print("[dim]`springtide checkpoints verify` reads the files and compares their checksums")


def show_checkpoint(settings: Settings, name: str) -> None:
    """Print what one checkpoint holds, the newest if ``name`` is empty.

    Raises:
        CheckpointError: If there is none of that name.
    """
    store = _store(settings)
    checkpoint = store.open(name) if name else store.latest()
    if checkpoint is None:
        console().print(_none_yet(settings))
        return
    manifest = checkpoint.manifest
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column()
    table.add_row("checkpoint", checkpoint.name)
    table.add_row("made", _when(checkpoint.created_ms))
    table.add_row("next offsets", escape(_offsets(checkpoint.position)))
    table.add_row("events", f"{checkpoint.num_events:,}")
    for edges in manifest["edges"]:
        count = edges["segments"][-1]["stop"] if edges["segments"] else 0
        table.add_row("edges", escape(f"{count:,} {':'.join(edges['type'])}"))
    for gap in _gaps(checkpoint):
        table.add_row("skipped", escape(_gap_words(gap)))
    for left_out in manifests.left_out_from_json(manifest.get("left_out", ())):
        for words, count in left_out.num_events.items():
            table.add_row("left out", escape(f"{words}: {count:,}, since {_when(left_out.since_ms)}"))
    console().print(table)


def verify_checkpoints(settings: Settings, name: str) -> bool:
    """Read the files of one checkpoint, or of all if ``name`` is empty, and print what is missing or damaged.

    Returns:
        Whether all of them are whole.

    Raises:
        CheckpointError: If there is no checkpoint of that name.
    """
    inspector = CheckpointInspector(_store(settings), reads_files=True)
    conditions = [inspector.inspect(name)] if name else inspector.inspect_all()
    if not conditions:
        console().print(_none_yet(settings))
    for condition in conditions:
        console().print(f"{condition.name}  {_damaged() if condition.faults else 'whole'}")
        for fault in condition.faults:
            console().print(f"  {escape(fault)}", soft_wrap=True)
    return not any(condition.faults for condition in conditions)


def use_checkpoint(settings: Settings, name: str, confirm: Callable[[str], object]) -> None:
    """Make an older checkpoint the newest one.

    Args:
        settings: Where the checkpoints are.
        name: The older checkpoint.
        confirm: Called with a question before anything is written; raises to refuse.

    Raises:
        CheckpointLockedError: If a server runs on these checkpoints.
        CheckpointError: If there is no such checkpoint, or it is damaged.
    """
    CheckpointInspector(_store(settings), reads_files=False).inspect(name)  # Before the lock, which makes the folder.
    lock = CheckpointLock(settings.checkpoint.url, LockTiming.replacing_after(settings.checkpoint.takeover_s))
    lock.acquire(on_wait=say_wait)
    try:
        store = _store(settings, lock)
        condition = CheckpointInspector(store, reads_files=True).inspect(name)
        if condition.faults:
            raise CheckpointError(f"checkpoint {name} cannot be used: {'; '.join(condition.faults)}")
        newest = store.names()[0]
        if name == newest:
            console().print(f"{name} is the newest checkpoint already")
            return
        _explain_use(condition, newest)
        confirm(f"Make {name} the newest checkpoint?")
        copy = store.copy_as_newest(name)
        console().print(f"{copy.name}, a copy of {name}, is the newest checkpoint")
    finally:
        lock.release()


def _explain_use(condition: CheckpointCondition, newest: str) -> None:
    checkpoint = condition.checkpoint
    assert checkpoint is not None, "a checkpoint without faults has a manifest"
    lines = [
        f"{condition.name} was made {_when(checkpoint.created_ms)} and holds {checkpoint.num_events:,} events.",
        "The server then reads the stream again from there, so the topic must still have the events from "
        f"{_offsets(checkpoint.position) or 'its beginning'} on (partition:offset).",
        f"{newest} and the other checkpoints stay until `checkpoint.keep` newer ones exist or a node is forgotten.",
    ]
    console().print("\n".join(lines), soft_wrap=True)


def say_wait(former: LockHolder, at_most_s: float) -> None:
    """Say that another process may hold the lock, and how long it is watched."""
    console(stderr=True).print(
        f"waiting up to {at_most_s:g} s to see whether the former writer still runs: {former.describe(wall_ms())}",
        soft_wrap=True,
    )


def _columns(condition: CheckpointCondition) -> tuple[str, ...]:
    checkpoint = condition.checkpoint
    if checkpoint is None:
        return "", "", "", "", f"{_damaged()} manifest", ""
    copy_of = f" (copy of {condition.copy_of})" if condition.copy_of else ""
    files = f"[red]{len(condition.faults)} missing[/]" if condition.faults else "exist"
    return (
        _when(checkpoint.created_ms) + copy_of,
        f"{checkpoint.num_events:,}",
        f"{checkpoint.num_edges:,}",
        f"{condition.num_bytes / _BYTES_PER_MB:,.1f}",
        files,
        escape(_offsets(checkpoint.position)),
    )


def _gaps(checkpoint: Checkpoint | None) -> tuple[StreamGap, ...]:
    return () if checkpoint is None else manifests.gaps_from_json(checkpoint.manifest.get("gaps", ()))


def _gap_words(gap: StreamGap) -> str:
    if gap.reason in ("retention", "damaged"):
        which = f"{gap.to_offset - gap.from_offset:,} events, offsets {gap.from_offset} to {gap.to_offset - 1}"
    else:  # How many there were is not known: the topic was recreated, or its end was cut off.
        which = f"events from offset {gap.from_offset} on, read on at {gap.to_offset}"
    return f"{gap.topic} partition {gap.partition}: {which} ({gap.reason}), found {_when(gap.found_ms)}"


def _damaged() -> str:
    return "[red]damaged[/]"


def _offsets(position: StreamPosition | None) -> str:
    """Return the topic, and partition and offset of the next event in each of its partitions."""
    if position is None:
        return ""
    offsets = " ".join(f"{partition}:{offset}" for partition, offset in sorted(position.next_offsets.items()))
    return f"{position.topic} {offsets}"


def _when(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / MS_PER_SECOND, UTC):%Y-%m-%d %H:%M} UTC"


def _none_yet(settings: Settings) -> str:
    return f"no checkpoints yet in {escape(settings.checkpoint.url)}"


def _store(settings: Settings, lock: CheckpointLock | None = None) -> CheckpointStore:
    return CheckpointStore(settings.checkpoint.url, settings.checkpoint.keep, lock)
