"""The manifest of a checkpoint: what it holds, and which files."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from springtide.checkpoint.manifest_files import Json
from springtide.events.skips import Skips
from springtide.state import LeftOut, StreamGap, StreamPosition

MAX_SEGMENT_ROWS = 4_000_000  # About 80 MB of edges: bounds the memory that writing and reading take.


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The summary of a checkpoint.

    Attributes:
        name: Its name, such as ``00000012``; later checkpoints have greater names.
        created_ms: When its state was written first, in milliseconds since the Unix epoch.
        position: Position in the stream, or None if the state was not read from a stream.
        num_events: Interactions applied since the beginning.
        newest_ms: The newest event time of an edge, or None without edges.
        num_edges: Number of edges of all types.
        behind_ms: How far the stream's time was behind the wall clock, milliseconds; None without events.
        manifest: The whole manifest, as in its file.
    """

    name: str
    created_ms: int
    position: StreamPosition | None
    num_events: int
    newest_ms: int | None
    num_edges: int
    behind_ms: int | None
    manifest: Json = field(repr=False, compare=False)


def summary(manifest: Json) -> Checkpoint:
    """Return the summary of a manifest."""
    return Checkpoint(
        name=manifest["name"],
        created_ms=manifest["created_ms"],
        position=position_from_json(manifest["position"]),
        num_events=manifest["num_events"],
        newest_ms=manifest["newest_ms"],
        num_edges=manifest["num_edges"],
        behind_ms=manifest["behind_ms"] if "behind_ms" in manifest else _behind_ms(manifest),
        manifest=manifest,
    )


def _behind_ms(manifest: Json) -> int | None:
    """Return how far the stream was behind at most, for checkpoints of before 0.6: their events had come by then."""
    newest_ms = manifest["newest_ms"]
    return None if newest_ms is None else max(0, manifest["created_ms"] - newest_ms)


def position_to_json(position: StreamPosition | None) -> Json | None:
    """Return a position as JSON."""
    if position is None:
        return None
    offsets = {str(partition): offset for partition, offset in position.next_offsets.items()}
    return {"topic": position.topic, "topic_id": position.topic_id, "next_offsets": offsets}


def position_from_json(saved: Json | None) -> StreamPosition | None:
    """Return the position that ``position_to_json`` wrote."""
    if saved is None:
        return None
    offsets = {int(partition): offset for partition, offset in saved["next_offsets"].items()}
    return StreamPosition(saved["topic"], saved["topic_id"], offsets)


def gaps_to_json(gaps: Sequence[StreamGap]) -> list[Json]:
    """Return gaps in the stream as JSON."""
    return [dataclasses.asdict(gap) for gap in gaps]


def gaps_from_json(saved: Sequence[Json]) -> tuple[StreamGap, ...]:
    """Return the gaps that ``gaps_to_json`` wrote."""
    return tuple(StreamGap(**gap) for gap in saved)


def left_out_to_json(left_out: Sequence[LeftOut]) -> list[Json]:
    """Return what rebuilds left out as JSON."""
    return [
        {
            "skips": each.skips.to_json(),
            "since_ms": each.since_ms,
            "num_events": dict(each.num_events),
            "topic_id": each.topic_id,
            "until_offsets": {str(partition): offset for partition, offset in each.until_offsets.items()},
        }
        for each in left_out
    ]


def left_out_from_json(saved: Sequence[Json]) -> tuple[LeftOut, ...]:
    """Return what ``left_out_to_json`` wrote."""
    return tuple(
        LeftOut(
            Skips.from_json(each["skips"]),
            each["since_ms"],
            each["num_events"],
            each["topic_id"],
            {int(partition): offset for partition, offset in each.get("until_offsets", {}).items()},
        )
        for each in saved
    )


def file_entries(manifest: Json) -> Iterator[Json]:
    """Yield the entry of each file that a manifest names."""
    for edges in manifest["edges"]:
        yield from edges["segments"]
    for nodes in manifest["nodes"]:
        yield from nodes["ids"]
        yield nodes["attributes"]
        if "lifetimes" in nodes:  # Checkpoints before 0.5 have none.
            yield nodes["lifetimes"]
    if manifest.get("tombstones"):
        yield manifest["tombstones"]
    if manifest.get("known_names"):  # Checkpoints before format 6 have none.
        yield manifest["known_names"]
    if manifest.get("tallies"):  # Checkpoints before format 7 have none.
        yield manifest["tallies"]
    yield from manifest["context_weights"].values()
    if (seen := manifest.get("seen_events")) is not None:
        yield from seen["segments"]


def plan_segments(
    segments: Sequence[Json], num_rows: int, first_row: int = 0
) -> tuple[list[Json], list[tuple[int, int]]]:
    """Decide which segments are kept and which ranges of rows are written.

    A segment that is not larger than all rows after it is written again together with them. So there are only about
    log2(num_rows) segments at any time, and each row is written about log2(num_rows) times in all.

    Args:
        segments: The former checkpoint's segments, which hold a prefix of the rows.
        num_rows: The number of rows now, those before ``first_row`` included.
        first_row: The first row that is wanted; segments of rows before it alone are left out.

    Returns:
        The segments that are kept, and the range [start, stop) of each segment to write.
    """
    kept = [segment for segment in segments if segment["stop"] > first_row]
    start = kept[-1]["stop"] if kept else first_row
    if start == num_rows:
        return kept, []
    while kept and kept[-1]["stop"] - kept[-1]["start"] <= num_rows - start:
        start = max(kept.pop()["start"], first_row)
    bounds = [*range(start, num_rows, MAX_SEGMENT_ROWS), num_rows]
    return kept, list(itertools.pairwise(bounds))
