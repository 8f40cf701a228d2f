"""The manifest of a checkpoint: what it holds, which files, and their checksums."""

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from springtide.errors import CheckpointError
from springtide.state import StreamPosition
from springtide.storage import sha256

FORMAT = 1  # Of manifest and segments together; another number is refused.
MAX_SEGMENT_ROWS = 4_000_000  # About 80 MB of edges: bounds the memory that writing and reading take.

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint holds, in short.

    Attributes:
        name: Such as ``00000012``; later ones have greater names.
        created_ms: Milliseconds since the Unix epoch.
        position: Where the stream was, or None if the state was not read from one.
        num_events: Interactions applied ever.
        newest_ms: The newest event time of an edge, or None.
        num_edges: Edges of all types.
        manifest: All of it, as in the file.
    """

    name: str
    created_ms: int
    position: StreamPosition | None
    num_events: int
    newest_ms: int | None
    num_edges: int
    manifest: Json = field(repr=False, compare=False)


def summary(manifest: Json) -> Checkpoint:
    """Return what a manifest says, in short."""
    return Checkpoint(
        name=manifest["name"],
        created_ms=manifest["created_ms"],
        position=position_from_json(manifest["position"]),
        num_events=manifest["num_events"],
        newest_ms=manifest["newest_ms"],
        num_edges=manifest["num_edges"],
        manifest=manifest,
    )


def position_to_json(position: StreamPosition | None) -> Json | None:
    """Return a position as JSON has it."""
    if position is None:
        return None
    offsets = {str(partition): offset for partition, offset in position.next_offsets.items()}
    return {"topic": position.topic, "topic_id": position.topic_id, "next_offsets": offsets}


def position_from_json(saved: Json | None) -> StreamPosition | None:
    """Return what ``position_to_json`` was given."""
    if saved is None:
        return None
    offsets = {int(partition): offset for partition, offset in saved["next_offsets"].items()}
    return StreamPosition(saved["topic"], saved["topic_id"], offsets)


def to_bytes(manifest: Json) -> bytes:
    """Return the manifest's file, which holds its own checksum."""
    return _to_json({"sha256": sha256(_to_json(manifest)), "checkpoint": manifest})


def from_bytes(content: bytes, path: str) -> Json:
    """Return the manifest that a file holds.

    Args:
        content: The file's content.
        path: Where it is, for the message.

    Raises:
        CheckpointError: If it is damaged, or of another format.
    """
    try:
        envelope = json.loads(content)
        wanted, manifest = envelope["sha256"], envelope["checkpoint"]
        found = sha256(_to_json(manifest))
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path}: damaged: not a checkpoint's manifest: {error!r}") from error
    if found != wanted:
        raise CheckpointError(f"{path}: damaged: wanted SHA-256 {wanted}, got {found}")
    if manifest["format"] != FORMAT:
        raise CheckpointError(f"{path}: wanted format {FORMAT}, got {manifest['format']}")
    return dict(manifest)


def pieces(manifest: Json) -> Iterator[Json]:
    """Yield the entry of each file that a manifest names."""
    for edges in manifest["edges"]:
        yield from edges["segments"]
    for nodes in manifest["nodes"]:
        yield from nodes["ids"]
        yield nodes["attributes"]
    yield from manifest["context_weights"].values()


def plan(segments: Sequence[Json], num_rows: int) -> tuple[list[Json], list[tuple[int, int]]]:
    """Decide which segments stay and which ranges of rows are written.

    A segment that is no larger than what follows it is written again with it: so there are ever only about log2 of
    them, and each row is written about log2 times in all.

    Args:
        segments: Those of the former checkpoint, which hold a prefix of the rows.
        num_rows: How many rows there are now.

    Returns:
        The segments that stay, and [start, stop) of each to be written.
    """
    kept = list(segments)
    start = kept[-1]["stop"] if kept else 0
    if start == num_rows:
        return kept, []
    while kept and kept[-1]["stop"] - kept[-1]["start"] <= num_rows - start:
        start = kept.pop()["start"]
    bounds = [*range(start, num_rows, MAX_SEGMENT_ROWS), num_rows]
    return kept, list(itertools.pairwise(bounds))


def _to_json(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True, allow_nan=False).encode()
