"""Parts that others wrote, behind their guards: what raises, answers nonsense or blocks is gone without."""

import importlib.util
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from springtide.errors import BypassedError, PluginError
from springtide.events import RawEvent
from springtide.interactions import ItemGroups
from springtide.plugins import guarded_parts, guarding
from springtide.plugins.contracts import Baseline, ContextWeight, EventDecoder, Index, Moment, Reranker
from springtide.plugins.contracts.serving import ServingEncoder
from springtide.plugins.guarded_parts import _METHODS, guarded
from springtide.plugins.guarding import Guards, is_broken, is_guarded
from springtide.plugins.loading import find_plugins
from springtide.plugins.part import Part
from springtide.ranking.moment_cache import _span_ms
from springtide.settings.model import PartSettings, PluginSettings
from springtide.state_snapshot import _state_of
from springtide.testing import history_of, observed_of, shortlist_of

FAULTY = Path(__file__).parents[1] / "plugin_faults" / "served" / "faulty.py"
NOW = Moment(1_800_000_000_000)
HOUR = ("hour", NOW.timestamp_ms // 3_600_000)
HISTORY = history_of([(2, 0), (1, 5)])


@pytest.fixture
def faulty() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("faulty", FAULTY)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    module.ways.clear()
    module.released.set()


@pytest.fixture
def guards() -> Guards:
    return Guards(max_call_s=0.1)


def behind(guards: Guards, made: Any, kind: str) -> Any:
    return guarded(made, guards.of(Part(kind, "faulty", type(made), "windy 1.0", "faulty")))


def call_weight(module: ModuleType, guards: Guards, hook: str) -> Any:
    weight = behind(guards, module.Faulty(), "context weight")
    calls: dict[str, Callable[[], Any]] = {
        "regroup": lambda: weight.regroup(ItemGroups((), (), ())),
        "bucket": lambda: weight.bucket(NOW),
        "item_log_lifts": lambda: weight.item_log_lifts(NOW, 4),
        "later_item_log_lifts": lambda: weight.later_item_log_lifts(NOW, 3, 4),
        "history_log_lifts": lambda: weight.history_log_lifts(HISTORY, NOW),
        "related": lambda: getattr(weight.related(HISTORY, NOW), "log_lifts", None),
        "adopted": lambda: weight.adopted({}, np.zeros(0, np.int32)) is not weight,
    }
    return calls[hook]()


@pytest.mark.parametrize("way", ["raises", "answers nonsense", "blocks"])
@pytest.mark.parametrize(
    ("hook", "well", "without"),
    [
        ("regroup", None, None),
        ("bucket", 0, HOUR),
        ("item_log_lifts", (1, 4), None),
        ("later_item_log_lifts", (1, 1), None),
        ("history_log_lifts", (1, 2), None),
        ("related", (1, 1), None),
        ("adopted", True, False),
    ],
)
def test_weight_that_fails_while_an_answer_is_made_is_neutral(
    faulty: ModuleType, guards: Guards, hook: str, well: Any, without: Any, way: str
) -> None:
    answer = call_weight(faulty, guards, hook)
    assert (answer.shape if isinstance(answer, np.ndarray) else answer) == well
    if (hook, way) == ("regroup", "answers nonsense"):
        return  # It has no answer.

    faulty.ways[hook] = way
    with capture_logs() as logs:
        assert call_weight(faulty, guards, hook) == without
        if way != "blocks":
            assert call_weight(faulty, guards, hook) == without
    [trouble] = guards.troubles()
    fault = {"raises": "raised", "answers nonsense": "wrong", "blocks": "blocked"}[way]
    if (hook, way) == ("bucket", "answers nonsense"):
        fault = "raised"  # A key that cannot be hashed.
    num_failed = 1 if way == "blocks" else 2
    assert (trouble.part, trouble.origin, trouble.hook, trouble.fault, trouble.num_failed, trouble.is_blocked) == (
        *("context weight 'faulty'", "windy 1.0", hook, fault, num_failed),
        way == "blocks",
    )
    assert guards.num_bypassed == {"context weight 'faulty'": num_failed}
    assert [(log["event"], log["hook"]) for log in logs] == [("part_failed", hook)], "told once"


@pytest.mark.parametrize("way", ["raises", "answers nonsense", "blocks"])
@pytest.mark.parametrize("hook", ["layer", "readout", "scores", "search", "order"])
def test_encoder_baseline_index_or_reranker_that_fails_says_so_to_who_has_something_in_its_place(
    faulty: ModuleType, guards: Guards, hook: str, way: str
) -> None:
    vectors = np.ones((1, 2), np.float32)
    encoder = behind(guards, faulty.FaultyEncoder(2, 1, [_Keep()], {}), "encoder")
    baseline = behind(guards, faulty.FaultyBaseline(), "baseline")
    baseline.fit(observed_of([(0, 0, 1), (0, 2, 2)]), 1, 3)
    index = behind(guards, faulty.FaultyIndex(), "index")
    index.build(vectors, np.zeros(1, np.int32), lambda: True)
    reranker = behind(guards, faulty.FaultyReranker(), "reranker")
    calls: dict[str, Callable[[], Any]] = {
        "layer": lambda: encoder.layer(0, vectors, vectors, _Keep()),
        "readout": lambda: encoder.readout([vectors, vectors]),
        "scores": lambda: baseline.scores(np.array([0]), [HISTORY], 3),
        "search": lambda: index.search(vectors[0], 1),
        "order": lambda: reranker.order(shortlist_of(["a", "b"]), 1),
    }
    calls[hook]()
    assert (encoder.num_layers, encoder.width, index.num_bytes) == (1, 2, 0)

    faulty.ways[hook] = way
    if (hook, way) == ("search", "answers nonsense"):
        assert calls[hook]()[0] == 10**9, "who asks looks at the rows, and answers exactly"
        return
    with pytest.raises(BypassedError):
        calls[hook]()


class _Keep:
    def aggregate(self, sources: Any, aggregator: Any, weight: Any) -> Any:
        return sources


def test_part_that_blocks_is_not_waited_for_again_until_it_has_rested(
    faulty: ModuleType, guards: Guards, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty.ways["item_log_lifts"] = "blocks"
    assert call_weight(faulty, guards, "item_log_lifts") is None
    started = time.monotonic()
    for _ in range(100):
        assert call_weight(faulty, guards, "item_log_lifts") is None
        assert call_weight(faulty, guards, "history_log_lifts") is None
    assert time.monotonic() - started < 10.0, "nobody has waited: 200 waits would take 20 s"
    assert guards.troubles()[0].num_failed == 1
    assert guards.num_bypassed == {"context weight 'faulty'": 201}

    monkeypatch.setattr(guarding, "_FIRST_REST_S", 0.0)
    rested = Guards(max_call_s=0.05)
    assert call_weight(faulty, rested, "item_log_lifts") is None
    faulty.ways.clear()
    faulty.released.set()
    answer = call_weight(faulty, rested, "item_log_lifts")
    assert answer is not None, "it has rested, and answers again"


def test_part_whose_calls_never_return_takes_no_more_threads(
    faulty: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarding, "_FIRST_REST_S", 0.0)
    monkeypatch.setattr(guarding, "_MAX_REST_S", 0.0)
    guards = Guards(max_call_s=0.01)
    faulty.ways["item_log_lifts"] = "blocks"
    before = threading.active_count()
    for _ in range(20):
        assert call_weight(faulty, guards, "item_log_lifts") is None
    assert threading.active_count() <= before + 4


@pytest.mark.parametrize("way", ["raises", "blocks"])
@pytest.mark.parametrize("hook", ["observe", "unobserve", "forget_rows", "forget_circumstances", "state"])
def test_weight_that_fails_to_learn_or_to_be_stored_is_set_aside_for_good(
    faulty: ModuleType, guards: Guards, monkeypatch: pytest.MonkeyPatch, hook: str, way: str
) -> None:
    for name in ("_LEARNING_S", "_COPY_S"):
        monkeypatch.setattr(guarded_parts, name, 0.1)
    weight = behind(guards, faulty.Faulty(), "context weight")
    events, no_rows = observed_of([(0, 0, 1)]), np.empty(0, np.int32)
    calls: dict[str, Callable[[], Any]] = {
        "observe": lambda: weight.observe(events),
        "unobserve": lambda: weight.unobserve(events),
        "forget_rows": lambda: weight.forget_rows(no_rows, no_rows),
        "forget_circumstances": lambda: weight.forget_circumstances({"mood": ["calm"]}),
        "state": weight.state,
    }
    calls[hook]()
    assert set(_state_of({"faulty": weight})) == {"faulty"}

    faulty.ways[hook] = way
    calls[hook]()
    faulty.ways.clear()
    faulty.released.set()
    assert is_broken(weight)
    assert weight.item_log_lifts(NOW, 4) is None, "what it lacks would make its lifts wrong"
    assert _state_of({"faulty": weight, "trend": _Trend()}) == {"trend": {}}, "a later start learns it anew"
    [trouble] = guards.troubles()
    assert (trouble.hook, trouble.fault) == (hook, "raised" if way == "raises" else "blocked")
    assert not is_broken(behind(guards, faulty.Faulty(), "context weight")), "another state has another one"


class _Trend(ContextWeight):
    pass


@pytest.mark.parametrize("way", ["raises", "blocks"])
@pytest.mark.parametrize(("kind", "hook"), [("context weight", "restore"), ("baseline", "baseline restore")])
def test_part_that_cannot_be_restored_is_refused_by_name(
    faulty: ModuleType, guards: Guards, monkeypatch: pytest.MonkeyPatch, kind: str, hook: str, way: str
) -> None:
    monkeypatch.setattr(guarded_parts, "_LEARNING_S", 0.1)
    made = {"context weight": faulty.Faulty, "baseline": faulty.FaultyBaseline}[kind]()
    faulty.ways[hook] = way
    with pytest.raises(PluginError, match=f"{kind} 'faulty' of windy 1.0 fails in restore"):
        behind(guards, made, kind).restore({"num_observed": np.array(3)})


@pytest.mark.parametrize("hook", ["recognises", "decode"])
def test_hook_that_the_stream_needs_raises_as_it_does_and_is_told_where_it_blocks(
    faulty: ModuleType, guards: Guards, monkeypatch: pytest.MonkeyPatch, hook: str
) -> None:
    monkeypatch.setattr(guarding, "_BLOCKED_S", 0.05)
    decoder = behind(guards, faulty.FaultyDecoder(), "decoder")
    record = RawEvent(b"ann bread", headers=[("content-type", b"text/x-pair")])
    calls: dict[str, Callable[[], Any]] = {
        "recognises": lambda: decoder.recognises(record),
        "decode": lambda: decoder.decode(record),
    }
    calls[hook]()
    faulty.ways[hook] = "raises"
    with pytest.raises(RuntimeError, match=f"no such wind in {hook}"):
        calls[hook]()
    assert guards.blocked_in(hook) is None

    faulty.ways[hook] = "blocks"
    thread = threading.Thread(target=calls[hook])
    thread.start()
    deadline = time.monotonic() + 30
    with capture_logs() as logs:
        while (blocked := guards.blocked_in(hook)) is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        guards.troubles()
    assert (blocked.hook, blocked.fault, blocked.num_failed) == (hook, "blocked", 1)
    assert [log["event"] for log in logs] == ["part_failed"]
    faulty.released.set()
    thread.join()
    assert guards.blocked_in(hook) is None, "it goes on"


def test_what_stands_before_a_part_looks_like_it(faulty: ModuleType, guards: Guards) -> None:
    class Plain(ContextWeight):
        factors = faulty.Faulty.factors
        context_keys = ("mood",)
        bucket_ms = 7

        def bucket(self, moment: Moment) -> int:
            return 1

    class Other(Plain):
        def bucket(self, moment: Moment) -> int:
            return 2

    weight = behind(guards, Plain(), "context weight")
    assert isinstance(weight, ContextWeight)
    assert is_guarded(weight)
    assert not is_guarded(Plain())
    assert (weight.factors, weight.context_keys) == (Plain.factors, ("mood",))
    assert (_span_ms({"a": weight}), _span_ms({"a": behind(guards, Other(), "context weight")})) == (7, 0)
    for name in ("observe", "item_log_lifts", "history_log_lifts", "later_item_log_lifts", "forget_rows"):
        assert getattr(type(weight), name) is getattr(ContextWeight, name), "what it does not override is not asked"


def test_each_hook_that_a_server_calls_has_a_guard() -> None:
    for contract, methods in _METHODS.items():
        hooks = {name for name, member in vars(contract).items() if callable(member) and not name.startswith("_")}
        assert hooks == set(methods), contract
    assert set(_METHODS) == {ContextWeight, Baseline, ServingEncoder, Index, Reranker, EventDecoder}


def test_only_parts_that_others_wrote_stand_behind_a_guard() -> None:
    guards = Guards(max_call_s=1.0)
    settings = PluginSettings(folder=str(FAULTY.parent))
    try:
        plugins = find_plugins(settings).behind(guards)
        assert is_guarded(plugins.make("context weight", PartSettings(name="faulty")))
        assert not is_guarded(plugins.make("context weight", PartSettings(name="trend")))
        assert not is_guarded(find_plugins(settings).make("baseline", PartSettings(name="faulty")))
    finally:
        sys.modules.pop("springtide_plugin_faulty", None)
