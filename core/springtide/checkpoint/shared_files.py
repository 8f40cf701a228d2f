"""Files that a new checkpoint would share with the former one: looked at from time to time, and not shared if damaged.

The state in memory has all that they hold. So what is damaged is written again, before a start needs it.
"""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence

from springtide.checkpoint.manifest_files import Json
from springtide.errors import CheckpointError, DamagedCheckpointError

_READ_BYTES = 32 * 2**20  # At each checkpoint, and one file at least: some 10 ms from the page cache.


class SharedFiles:
    """Finds damaged files of the former checkpoint before the next one shares them.

    Each checkpoint looks for missing and shortened files in a listing, and reads a few of the others, in turn.

    Args:
        verify: Reads a file by its entry, and raises ``DamagedCheckpointError`` if it is damaged.

    Attributes:
        faults: What is wrong with each damaged file that was found and is still named by a manifest, in words, by name.
    """

    def __init__(self, verify: Callable[[Json], object]) -> None:
        self.faults: dict[str, str] = {}
        self._verify = verify
        self._turn: dict[str, None] = {}  # Files in the order in which they were read last.

    def sound(self, base: Json, sizes: Mapping[str, int]) -> Json:
        """Return a manifest without what may not be shared; entries that stay are those of the manifest.

        Args:
            base: Manifest of the former checkpoint; empty for none.
            sizes: Size in bytes of each file that is there.
        """
        entries = {str(entry["file"]): entry for entry in _shared_entries(base)}
        for file, entry in entries.items():
            if file not in sizes:
                self.faults[file] = "missing"
            elif (wanted := entry.get("file_bytes")) is not None and sizes[file] != wanted:
                self.faults[file] = f"damaged: wanted {wanted:,} bytes, got {sizes[file]:,}"
            elif sizes[file] < (least := entry.get("num_bytes", 1)):  # Before format 5.
                self.faults[file] = f"damaged: wanted at least {least:,} bytes, got {sizes[file]:,}"
        self._read_some(entries, sizes)
        return _without(base, self.faults) if self.faults.keys() & entries.keys() else base

    def note(self, file: str, fault: str) -> None:
        """Note that a file is damaged, as somebody else has found; no checkpoint shares it from now on."""
        if file:
            self.faults[file] = fault

    def forget(self, existing: Container[str]) -> None:
        """Forget what was found in files that are no longer there."""
        self.faults = {file: fault for file, fault in self.faults.items() if file in existing}

    def _read_some(self, entries: Mapping[str, Json], sizes: Mapping[str, int]) -> None:
        self._turn = {file: None for file in self._turn if file in entries}
        waiting = [file for file in entries if file not in self._turn]
        num_left = _READ_BYTES
        for file in [*waiting, *self._turn]:
            if file in self.faults:
                continue
            self._turn.pop(file, None)
            self._turn[file] = None
            try:
                self._verify(entries[file])
            except DamagedCheckpointError as error:
                self.faults[file] = str(error)
            except CheckpointError:
                break  # The storage does not answer now, which says nothing about its files.
            num_left -= sizes[file]
            if num_left <= 0:
                break


def _shared_entries(base: Json) -> Iterator[Json]:
    for edges in base.get("edges", ()):
        yield from edges["segments"]
    for nodes in base.get("nodes", ()):
        yield from nodes["ids"]
        yield nodes["attributes"]
        if nodes.get("lifetimes"):
            yield nodes["lifetimes"]
    if (seen := base.get("seen_events")) is not None:
        yield from seen["segments"]


def _without(base: Json, damaged: Container[str]) -> Json:
    """Return a manifest whose segments end before the first damaged one, without other damaged files."""

    def whole(entry: Json | None) -> Json | None:
        return None if entry is None or entry["file"] in damaged else entry

    seen = base.get("seen_events")
    return {
        **base,
        "edges": [{**edges, "segments": _whole_ones(edges["segments"], damaged)} for edges in base["edges"]],
        "nodes": [
            {
                **nodes,
                "ids": _whole_ones(nodes["ids"], damaged),
                "attributes": whole(nodes["attributes"]),
                "lifetimes": whole(nodes.get("lifetimes")),
            }
            for nodes in base["nodes"]
        ],
        "seen_events": None if seen is None else {**seen, "segments": _whole_ones(seen["segments"], damaged)},
    }


def _whole_ones(segments: Sequence[Json], damaged: Container[str]) -> list[Json]:
    whole: list[Json] = []
    for segment in segments:
        if segment["file"] in damaged:
            break
        whole.append(segment)
    return whole
