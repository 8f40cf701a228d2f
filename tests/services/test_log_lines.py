"""Log events in words: one line each, for every event that our code logs."""

import ast
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from springtide.errors import CheckpointError
from springtide_services.log_lines import WORDS, LineRenderer, in_words

ROOT = Path(__file__).parents[2]
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


def logged_events() -> Iterator[tuple[str, set[str]]]:
    """Give the name of each event that our code logs, with its fields."""
    for folder in ("core", "plugins", "services"):
        for path in (ROOT / folder).rglob("*.py"):
            if "logger." in (text := path.read_text(encoding="utf-8")):
                yield from events_of(ast.parse(text))


def events_of(module: ast.Module) -> Iterator[tuple[str, set[str]]]:
    for function in ast.walk(module):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for call in ast.walk(function):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                continue
            if ast.unparse(call.func.value) != "logger" or call.func.attr not in LEVELS:
                continue
            fields = {keyword.arg or "" for keyword in call.keywords}
            for name in names_of(call.args[0], function, module):
                yield name, fields


def names_of(argument: ast.expr, function: ast.FunctionDef | ast.AsyncFunctionDef, module: ast.Module) -> Iterator[str]:
    """Give what the first argument of a logging call may be: a literal, or those that the function is called with."""
    if isinstance(argument, ast.Constant):
        yield argument.value
        return
    assert isinstance(argument, ast.Name), ast.unparse(argument)
    parameters = [parameter.arg for parameter in function.args.args if parameter.arg != "self"]
    index = parameters.index(argument.id)
    for call in ast.walk(module):
        if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] == function.name:
            yield ast.literal_eval(call.args[index])


def test_every_event_of_our_code_has_words_and_no_others() -> None:
    assert {name for name, _ in logged_events()} == set(WORDS)


def test_words_use_only_fields_that_the_event_has() -> None:
    for name, fields in logged_events():
        words = WORDS[name]
        if isinstance(words, str):
            used = {field for _, field, _, _ in string.Formatter().parse(words) if field is not None}
            assert used <= fields, name


INDEX = {
    "index": "usearch",
    "version": "2",
    "items": 1_000_000,
    "recall": 0.995,
    "min_recall": 0.999,
    "users": 100,
    "index_ms": 0.31,
    "exact_ms": 4.8,
    "build_s": 312.5,
    "bytes": 330 * 2**20,
}


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"event": "settings", "changed": {}}, "every setting has its default"),
        (
            {"event": "settings", "changed": {"server.port": 7, "kafka.topic": "t"}},
            "settings that are not defaults: server.port = 7, kafka.topic = 't'",
        ),
        ({"event": "reading", "topic": "t", "next_offsets": {0: 0, 1: 0}}, "reading t from offset 0"),
        (
            {"event": "reading", "topic": "t", "next_offsets": {1: 1_200, 0: 7}},
            "reading t from offsets 7 (partition 0), 1,200 (partition 1)",
        ),
        ({"event": "model_swapped", "version": "2", "before": ""}, "model 2 is in use now"),
        (
            {"event": "torch_loaded", "version": "2", "parts": ["encoder 'own' of shop 1.0", "aggregator 'b' of here"]},
            "model 2 is computed by PyTorch, which takes some 340 MB: encoder 'own' of shop 1.0 and "
            "aggregator 'b' of here have no serving half",
        ),
        ({"event": "model_swapped", "version": "2", "before": "1"}, "model 2 is in use now, instead of 1"),
        (
            {"event": "index_used"} | INDEX,
            "index usearch of model 2 is used from now on: recall 0.995 of 100 users' 20 best items, 0.31 ms an answer "
            "beside 4.80 ms exactly; built from 1,000,000 items in 312.5 s, it takes 330 MiB",
        ),
        (
            {"event": "index_refused"} | INDEX,
            "index usearch of model 2 is not used, and answers stay exact: its recall is 0.995 of 100 users' 20 best "
            "items, below ranking.index_min_recall, 0.999",
        ),
        (
            {"event": "index_slower"} | INDEX,
            "index usearch of model 2 is not used, since exact answers are as fast: recall 0.995 of 100 users' 20 best "
            "items, 0.31 ms an answer beside 4.80 ms exactly",
        ),
        (
            {"event": "index_unmeasured"} | INDEX,
            "index usearch of model 2 is not used: there are too few users to measure it with, 100",
        ),
        ({"event": "index_failed"} | INDEX, "index usearch of model 2 failed, and answers stay exact"),
        (
            {"event": "model_not_loaded", "version": "2", "served": ""},
            "model 2 cannot be loaded; there is still no model",
        ),
        (
            {"event": "model_not_loaded", "version": "", "served": "1"},
            "the model registry cannot be read; model 1 stays in use",
        ),
        (
            {
                "event": "events_refused",
                "reasons": {"empty_id": 2, "undecodable": 1},
                "partition": 3,
                "offset": 9,
            },
            "refused 3 events (2 empty_id, 1 undecodable); the first one is at offset 9 of partition 3 "
            "(`springtide dead-letters list` shows why)",
        ),
        (
            {"event": "live_quality", "version": "", "events": 1_000, "ndcg": 0.25, "hit_rate": 0.5},
            "live quality of the fallback over the last 1,000 events: NDCG 0.2500, hit rate 0.5000",
        ),
        (
            {"event": "checkpoint_written", "checkpoint": "00000001", "events": 1_200},
            "wrote checkpoint 00000001 with 1,200 events",
        ),
        ({"event": "an_event_of_a_plugin", "speed": 3, "logger": "springtide_x"}, "an event of a plugin: speed = 3"),
        ({"event": "reading", "logger": "springtide_x"}, "reading"),  # Without its fields: no failure.
        ({"event": "the store is away", "logger": "fsspec"}, "fsspec: the store is away"),
    ],
)
def test_event_is_put_in_words(event: dict[str, object], words: str) -> None:
    assert in_words(event) == words


def test_line_is_time_process_and_words() -> None:
    event = {"event": "listening", "address": "[::1]:5", "timestamp": "12:53:20", "level": "info", "logger": "s"}

    assert LineRenderer("server")(None, "info", event) == "12:53:20  server    listening on [::1]:5, not ready yet"
    assert LineRenderer()(None, "info", event) == "12:53:20  listening on [::1]:5, not ready yet"


def test_colours_change_nothing_but_colours() -> None:
    event = {"event": "stream_waits", "error": "gone", "timestamp": "12:53:20", "level": "warning"}
    plain = LineRenderer("trainer")(None, "warning", event)
    coloured = LineRenderer("trainer", is_coloured=True)(None, "warning", event)

    assert plain == "12:53:20  trainer   warning: the stream waits: gone"
    assert "\x1b[33mwarning" in coloured
    assert re.sub(r"\x1b\[\d*m", "", coloured) == plain


def test_words_of_others_cannot_break_the_line_or_reach_the_terminal() -> None:
    event = {"event": "checkpoint_failed", "error": "first\nsecond \x1b[2Jthird", "level": "error"}

    assert LineRenderer()(None, "error", event).endswith("could not be written: first second \\x1b[2Jthird")


def test_expected_error_is_its_message_once_and_an_unexpected_one_a_traceback() -> None:
    known = CheckpointError("no space left")
    event = {"event": "checkpoint_failed", "error": "no space left", "exc_info": known, "level": "error"}
    assert LineRenderer()(None, "error", event) == "  error: the checkpoint could not be written: no space left"

    event = {"event": "training_request_failed", "exc_info": known, "level": "error"}
    assert LineRenderer()(None, "error", event) == "  error: a training could not be requested: no space left"

    event = {"event": "request_failed", "exc_info": ValueError("bad"), "level": "error"}
    first, *rest = LineRenderer()(None, "error", event).splitlines()
    assert first == "  error: a request failed"
    assert rest == ["ValueError: bad"]
