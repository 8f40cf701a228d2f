"""An index is built beside the answers, measured, and used only if it is right enough and quicker."""

import dataclasses
import itertools
import os
import sys
import threading
import time

import numpy as np
import pytest
from structlog.testing import capture_logs

from springtide.model.exponents import Exponents, TermExponents
from springtide.plugins.contracts import Index, Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.indexing import Indexing, IndexRules
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import PartSettings
from springtide.testing import START_MS, even_odd_state, quick_model, quick_settings


class Exhaustive(Index):
    """Finds all that are near."""

    def build(self, vectors, rows, is_wanted):
        self.vectors, self.rows = vectors, rows

    def search(self, vector, count):
        return self.rows[np.argsort(-(self.vectors[self.rows] @ vector))[:count]]


class Poor(Exhaustive):
    """Finds the farthest."""

    def search(self, vector, count):
        return super().search(-vector, count)


class Broken(Exhaustive):
    def build(self, vectors, rows, is_wanted):
        raise MemoryError("40 GiB are wanted")


class BreaksLater(Exhaustive):
    def search(self, vector, count):
        raise OSError("the disk is gone")


class Endless(Exhaustive):
    """Takes as long as it is wanted."""

    def build(self, vectors, rows, is_wanted):
        while is_wanted():
            time.sleep(0.001)


def settings_of(**ranking):
    weights = {"popularity": {}}
    return quick_settings(ranking={"context_weights": weights, "index": "mine", "index_min_items": 1, **ranking})


def small(make_index, size=60, **ranking):
    """A ranker over the toy's items, which no head of an order holds all."""
    settings = settings_of(**ranking)
    state = even_odd_state(size, settings)
    ranker = Ranker(state, settings.ranking, make_index)
    model = ServingModel.from_artifact(quick_model(state, settings), load_plugins())
    ranker.swap(dataclasses.replace(model, exponents=Exponents(TermExponents(9.0), TermExponents(9.0))))
    return ranker


def clock_of(exact_s, index_s):
    """A clock by which exact answers and those of an index, which are measured in turn, take these times."""
    now_s = 0.0
    steps = itertools.cycle([0.0, exact_s, 0.0, index_s])

    def clock_s():
        nonlocal now_s
        now_s += next(steps)
        return now_s

    return clock_s


def timed(ranker, exact_s, index_s, make_index=Exhaustive):
    """Let the ranker measure by a clock: among few items, no index is quicker."""
    ranker.indexing = Indexing(IndexRules("mine", 1, 0.5, make_index), ranker.scorer, clock_of(exact_s, index_s))
    return ranker


def decided(ranker, within_s=300.0, version=""):
    """Refresh as the server does, until the index of a model is decided on; return its status."""
    started = time.monotonic()
    while (
        ranker.indexing.status.state in ("waiting", "building", "measuring")
        or ranker.indexing.status.version != version  # The thread of the model before may still be about to end.
    ):
        assert time.monotonic() - started < within_s, ranker.indexing.status
        ranker.refresh()
        time.sleep(0.01)
    ranker.refresh()
    return ranker.indexing.status


@pytest.fixture
def short_order(monkeypatch):
    """The head has a few of the toy's items, as it has a few of a million."""
    monkeypatch.setattr("springtide.ranking.indexed_items._PROBED", 3)
    monkeypatch.setattr("springtide.ranking.weights._MIN_ORDERED", 6)
    monkeypatch.setattr("springtide.ranking.indexing._CANDIDATES", (30,))


@pytest.mark.usefixtures("short_order")
def test_a_good_index_is_measured_and_used_where_it_is_quicker():
    ranker = timed(small(Exhaustive, size=120), exact_s=0.005, index_s=0.001)
    with capture_logs() as logs:
        status = decided(ranker)
    assert (status.state, status.num_items, status.num_users) == ("used", 120, 100)
    assert status.recall > 0.5
    assert (status.exact_ms, status.index_ms) == (pytest.approx(5.0), pytest.approx(1.0))
    [entry] = [entry for entry in logs if entry["event"].startswith("index_")]
    assert (entry["event"], entry["log_level"], entry["index"]) == ("index_used", "info", "mine")
    assert ranker.scorer().serving.index is not None

    ranker.recommend([Query(Moment(START_MS), "u3", count=5, exclude_seen=("*",))])
    assert ranker.indexing.counts.by_index == 1


@pytest.mark.usefixtures("short_order")
def test_an_index_leaves_with_its_model_and_another_is_built_for_the_next():
    ranker = timed(small(Exhaustive, size=120), exact_s=0.005, index_s=0.001)
    decided(ranker)
    model = ranker.scorer().serving.table.model
    ranker.swap(dataclasses.replace(model, version="another"))
    assert ranker.scorer().serving.index is None
    ranker.refresh()
    assert decided(ranker, version="another").state == "used"
    index = ranker.scorer().serving.index
    assert index is not None
    assert index.built.model.version == "another"


@pytest.mark.usefixtures("short_order")
def test_a_poor_index_is_refused_loudly_and_answers_stay_exact():
    ranker = small(Poor, size=120)
    with capture_logs() as logs:
        status = decided(ranker)
    assert (status.state, status.recall < 0.9) == ("refused", True)
    assert ranker.scorer().serving.index is None
    [entry] = [entry for entry in logs if entry["event"].startswith("index_")]
    assert (entry["event"], entry["log_level"], entry["recall"]) == (
        "index_refused",
        "warning",
        round(status.recall, 4),
    )


@pytest.mark.usefixtures("short_order")
def test_an_index_that_is_no_quicker_than_the_exact_answer_is_not_used():
    ranker = timed(small(Exhaustive, size=120), exact_s=0.001, index_s=0.0015)
    with capture_logs() as logs:
        status = decided(ranker)
    assert status.state == "slower"
    assert ranker.scorer().serving.index is None
    assert [entry["event"] for entry in logs if entry["event"].startswith("index_")] == ["index_slower"]


@pytest.mark.usefixtures("short_order")
@pytest.mark.skipif(sys.platform != "linux", reason="a thread has a priority of its own on Linux alone")
def test_an_index_is_built_by_a_thread_that_gives_way_and_timed_as_requests_are_answered():
    priorities = []

    class Noting(Exhaustive):
        def build(self, vectors, rows, is_wanted):
            priorities.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
            super().build(vectors, rows, is_wanted)

        def search(self, vector, count):
            priorities.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
            return super().search(vector, count)

    decided(timed(small(Noting, size=120), exact_s=0.005, index_s=0.001, make_index=Noting))
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert priorities[0] == 19
    assert priorities[-1] == own
    assert priorities.count(own) >= 40 or own == 19


@pytest.mark.usefixtures("short_order")
@pytest.mark.parametrize(("index", "reason"), [(Broken, "40 GiB are wanted"), (BreaksLater, "the disk is gone")])
def test_an_index_that_fails_is_told_and_answers_go_on(index, reason):
    ranker = small(index)
    with capture_logs() as logs:
        status = decided(ranker)
    assert (status.state, status.reason) == ("failed", reason)
    assert [entry["log_level"] for entry in logs if entry["event"] == "index_failed"] == ["error"]
    [ranking] = ranker.recommend([Query(Moment(START_MS), "u3", count=5)])
    assert len(ranking.items) == 5


def test_too_few_users_to_measure_with_leave_answers_exact():
    ranker = small(Exhaustive, size=6)
    assert decided(ranker).state == "unmeasured"
    assert ranker.scorer().serving.index is None


def test_with_fewer_items_than_wanted_no_index_is_built():
    ranker = small(Broken, index_min_items=1_000)
    ranker.refresh()
    assert ranker.indexing.status.state == "waiting"


def test_without_an_index_in_the_settings_none_is_kept():
    settings = quick_settings()
    assert Ranker(even_odd_state(8, settings), settings.ranking).indexing is None
    assert settings.ranking.index is None
    assert settings_of().ranking.index == PartSettings(name="mine")


def test_a_build_is_given_up_when_the_ranker_is_closed_or_another_model_is_served():
    ranker = small(Endless)
    ranker.refresh()
    assert ranker.indexing.status.state == "building"
    model = ranker.scorer().serving.table.model
    ranker.swap(dataclasses.replace(model, version="another"))
    versions = set()
    started = time.monotonic()
    while "another" not in versions:
        assert time.monotonic() - started < 30.0
        ranker.refresh()
        versions.add(ranker.indexing.status.version)
        time.sleep(0.01)
    ranker.close()
    assert not ranker.indexing._thread.is_alive()


def test_an_index_whose_model_is_gone_before_it_is_measured_waits_for_another():
    ranker = small(Exhaustive)

    class Late(Exhaustive):
        def build(self, vectors, rows, is_wanted):
            super().build(vectors, rows, is_wanted)
            ranker.swap(None)

    ranker.indexing = Indexing(IndexRules("mine", 1, 0.5, Late), ranker.scorer)
    ranker.refresh()
    ranker.indexing._thread.join(10.0)
    assert ranker.indexing.status.state == "waiting"
