"""Logging, set up in one place: named events with fields, one per line; plain text on a terminal, JSON elsewhere."""

import logging
import sys
from typing import TYPE_CHECKING, TextIO

import structlog

from springtide.settings.model import Settings
from springtide.settings.view import masked

if TYPE_CHECKING:
    from springtide.plugins.loading import Plugins  # Slow to import.

logger = structlog.stdlib.get_logger(__name__)


def configure_logging(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send our logs and those of the libraries to one stream, in one form.

    Args:
        level: The least severe level of ours that is written; libraries speak from WARNING on.
        stream: Standard error if None, so that standard output stays free for what a command prints.
    """
    stream = stream or sys.stderr
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    on_terminal: list[structlog.typing.Processor] = [
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)  # Locals may hold secrets.
    ]
    elsewhere: list[structlog.typing.Processor] = [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(default=str),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *(on_terminal if stream.isatty() else elsewhere),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)
    for package in ("springtide", "springtide_plugins", "springtide_services"):
        logging.getLogger(package).setLevel(level)
    # Ingest tells once when the broker goes and when it comes; kafka-python tells it ten times a second.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)


def log_settings(settings: Settings) -> None:
    """Log the settings, once at a process's start, with passwords, tokens and keys masked."""
    logger.info("settings", **masked(settings))


def log_failures(plugins: "Plugins") -> None:
    """Log the plugins that were left out, at a process's start: the settings let it go on without them."""
    for failure in plugins.failures:
        logger.warning("plugin_left_out", plugin=failure.plugin, origin=failure.origin, reason=failure.reason)
