"""Logs: words at a terminal, and elsewhere one JSON object a line; libraries included, secrets left out."""

import io
import json
import logging
import re
import sys
import warnings
from collections.abc import Iterator

import pytest
import structlog
from rich.console import Console

from springtide.settings.model import KafkaSettings, LogSettings, ModelSettings, Settings
from springtide_services import logs
from springtide_services.logs import configure_logging, log_settings
from springtide_services.terminal import progress


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def logging_state() -> Iterator[None]:
    """Undo what ``configure_logging`` does to this process."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        yield
    logging.captureWarnings(False)
    structlog.reset_defaults()
    vars(logs.logger).pop("bind", None)  # A logger that was used keeps how it was configured then.
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def stream(logging_state: None) -> io.StringIO:
    """What is logged, when standard error is no terminal."""
    stream = io.StringIO()
    configure_logging(process="server", stream=stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_log_line_carries_its_name_and_fields(stream: io.StringIO) -> None:
    structlog.stdlib.get_logger("springtide.test").info("retrained", version=12)
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["level"], line["version"], line["process"]) == (
        "retrained",
        "springtide.test",
        "info",
        12,
        "server",
    )


def test_libraries_speak_in_the_same_form_from_warning_on(stream: io.StringIO) -> None:
    logging.getLogger("fsspec").info("chatter")
    logging.getLogger("fsspec").warning("%s is away", "the store")
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["level"]) == ("the store is away", "fsspec", "warning")


def test_warnings_come_as_log_lines(stream: io.StringIO) -> None:
    warnings.warn("soon to be gone", DeprecationWarning, stacklevel=1)
    (line,) = lines(stream)
    assert (line["logger"], line["level"]) == ("py.warnings", "warning")
    assert "soon to be gone" in str(line["event"])


def test_an_error_carries_its_traceback(stream: io.StringIO) -> None:
    structlog.stdlib.get_logger("springtide.test").error("failed", exc_info=ValueError("bad"))
    (line,) = lines(stream)
    assert "ValueError: bad" in str(line["exception"])


def test_settings_that_are_not_defaults_are_logged_with_secrets_masked(stream: io.StringIO) -> None:
    options = {"sasl_plain_password": "hunter2", "sasl_plain_username": "ann", "ssl_password": "hunter3"}
    log_settings(
        Settings(
            kafka=KafkaSettings(bootstrap_servers="b:1", client_options=options),
            model=ModelSettings(url="s3://key:hunter4@bucket/models"),
        )
    )
    (line,) = lines(stream)
    assert line["changed"] == {
        "kafka.bootstrap_servers": "b:1",
        "kafka.client_options": {"sasl_plain_password": "***", "sasl_plain_username": "ann", "ssl_password": "***"},
        "model.url": "s3://***@bucket/models",
    }


def test_settings_that_are_all_defaults_are_one_short_line(stream: io.StringIO) -> None:
    log_settings(Settings())
    (line,) = lines(stream)
    assert line["changed"] == {}


def test_table_with_other_names_than_the_default_one_is_logged_whole(stream: io.StringIO) -> None:
    interactions = {"purchase": Settings().interactions["purchase"]}
    log_settings(Settings(interactions=interactions))
    (line,) = lines(stream)
    changed = line["changed"]
    assert isinstance(changed, dict)
    assert list(changed) == ["interactions"]
    assert list(changed["interactions"]) == ["purchase"]


def log_once(settings: LogSettings | None, stream: io.StringIO) -> str:
    configure_logging(settings, "server", stream)
    vars(logs.logger).pop("bind", None)
    structlog.stdlib.get_logger("springtide.test").info("listening", address="a:1")
    return stream.getvalue()


@pytest.mark.usefixtures("logging_state")
def test_terminal_gets_coloured_words_and_a_pipe_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")

    assert "\x1b[36mserver" in log_once(None, Terminal())
    assert json.loads(log_once(None, io.StringIO()))["event"] == "listening"


@pytest.mark.usefixtures("logging_state")
def test_form_that_the_settings_name_is_taken_anywhere() -> None:
    assert json.loads(log_once(LogSettings(format="json"), Terminal()))["event"] == "listening"
    words = log_once(LogSettings(format="text"), io.StringIO())
    assert re.fullmatch(r"\d\d:\d\d:\d\d  server    listening on a:1, not ready yet\n", words)


@pytest.mark.usefixtures("logging_state")
@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colour_where_none_is_wanted(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)

    assert "\x1b" not in log_once(None, Terminal())


@pytest.mark.usefixtures("logging_state")
def test_events_below_the_level_of_the_settings_are_left_out() -> None:
    assert log_once(LogSettings(level="warning"), io.StringIO()) == ""


@pytest.mark.usefixtures("logging_state")
def test_lines_stand_above_a_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """The display replaces standard error while it is shown; a line written past it would break the bar."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    configure_logging()
    bars = progress(Console(stderr=True, force_terminal=True, width=80))
    with bars:
        bars.add_task("Train", total=None, note="")
        bars.refresh()
        structlog.stdlib.get_logger("springtide.test").info("listening", address="a:1")

    before, _, after = terminal.getvalue().partition("listening on a:1, not ready yet")
    since_erased = before.rpartition("\x1b[2K")[2]
    assert re.fullmatch(r"\d\d:\d\d:\d\d  ", since_erased)  # The bar was erased first,
    assert "Train" in after  # and is drawn anew below the line.
