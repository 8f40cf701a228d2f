"""Threads work side by side for a moment; `make soak-threads` lets them for minutes."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import concurrency


@pytest.mark.timeout(300)
def test_threads_see_what_can_be(tmp_path: Path) -> None:
    soak = concurrency.Soak(1, tmp_path)

    soak.run(3.0)

    assert soak.failures == []
    assert min(soak.counts[what] for what in ("batches applied", "views read", "answers", "refreshes")) > 0


def test_a_view_that_changes_is_seen(tmp_path: Path) -> None:
    """The check itself: what changes under a view is noticed."""
    soak = concurrency.Soak(1, tmp_path)
    soak._apply(soak._chance)
    view = soak._state.graph.view()
    before = concurrency.digest(view)

    np.asarray(view.edges(concurrency.PURCHASE).timestamps_ms).base.flags.writeable = True
    soak._state.graph.store(concurrency.PURCHASE).columns.timestamps_ms[0] += 1

    assert concurrency.digest(view) != before
