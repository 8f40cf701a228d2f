"""Logs: one JSON object a line with its fields, libraries included, secrets left out."""

import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest
import structlog

from springtide.settings.model import KafkaSettings, Settings
from springtide_services import logs
from springtide_services.logs import configure_logging, log_settings


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What is logged, in a room whose walls are put back afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    configure_logging(stream=stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        yield stream
    logging.captureWarnings(False)
    structlog.reset_defaults()
    vars(logs.logger).pop("bind", None)  # A logger that was used keeps how it was configured then.
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_log_line_carries_its_name_and_fields(stream: io.StringIO) -> None:
    structlog.stdlib.get_logger("springtide.test").info("retrained", version=12)
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["level"], line["version"]) == (
        "retrained",
        "springtide.test",
        "info",
        12,
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


def test_settings_are_logged_without_secrets(stream: io.StringIO) -> None:
    options = {"sasl_plain_password": "hunter2", "sasl_plain_username": "ann", "ssl_password": "hunter3"}
    log_settings(Settings(kafka=KafkaSettings(client_options=options)))
    assert "hunter" not in stream.getvalue()
    assert "ann" in stream.getvalue()
