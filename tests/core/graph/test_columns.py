import resource
import sys
from pathlib import Path

import numpy as np
import pytest

from springtide.graph import kernels, touching
from springtide.graph.columns import fill_with_large_pages, roomy
from springtide.graph.store import EdgeStore

SMAPS = Path("/proc/self/smaps")


def flags_at(address: int) -> set[str]:
    """Return the flags of the mapping that an address is in."""
    is_there = False
    for line in SMAPS.read_text().splitlines():
        head, *rest = line.split()
        if "-" in head and not head.endswith(":"):
            start, stop = (int(each, 16) for each in head.split("-"))
            is_there = start <= address < stop
        elif is_there and head == "VmFlags:":
            return set(rest)
    return set()


@pytest.mark.skipif(
    sys.platform != "linux" or not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="It has no large pages."
)
def test_a_column_that_is_filled_at_once_has_large_pages_from_its_beginning():
    column = roomy(np.empty(0, np.int64), 0, 4_000_000)
    at_first, later = column.ctypes.data + 2**21, column.ctypes.data + 2**24
    assert ("hg" in flags_at(at_first), "hg" in flags_at(later)) == (False, True)
    fill_with_large_pages(column, 1_000_000)  # So few do not need them.
    assert "hg" not in flags_at(at_first)
    fill_with_large_pages(column, 3_000_000)
    assert "hg" in flags_at(at_first)
    fill_with_large_pages(np.empty(3_000_000), 3_000_000)  # No column with room: nothing is done.
    assert not column.any()


def test_touching_changes_nothing():
    numbers = np.arange(3_000_000)
    kernels.touch(numbers, 17, 3_000_000)
    kernels.touch(numbers, 3_000_000, 3_000_000)
    assert (numbers == np.arange(3_000_000)).all()
    with pytest.raises(ValueError, match="wanted entries of 3000000"):
        kernels.touch(numbers, 0, 3_000_001)


@pytest.mark.skipif(sys.platform != "linux", reason="It does not tell the page faults of a thread.")
def test_room_for_the_next_edges_takes_memory_before_they_come():
    store, rows = EdgeStore(), np.zeros(300_000, np.int32)
    store.append(rows, rows, np.arange(300_000), np.array(1, np.float32), None)
    touching._thread().submit(int).result()  # After all that it was told before.
    columns = store.columns
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    for column in (columns.source, columns.timestamps_ms, columns.by_source.prev, columns.by_target.prev):
        column[300_000:330_000] = 1
    assert resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before < 30, "146 pages"
