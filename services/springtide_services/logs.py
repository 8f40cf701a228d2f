"""Logging, set up in one place: one line an event, in words at a terminal, and as JSON elsewhere."""

import logging
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from springtide.settings.model import LogSettings, Settings
from springtide.settings.secrets import hidden, hide_in_output, masked
from springtide_services.log_lines import LineRenderer

_shown_rich = sys.modules.get("rich")
sys.modules["rich"] = None  # type: ignore[assignment]  # structlog.dev would import it, for output that is not ours:
try:  # 5 MB and 0.1 s of each server and trainer. Without Rich, it says so to itself and goes on.
    import structlog
finally:
    if _shown_rich is None:
        del sys.modules["rich"]
    else:
        sys.modules["rich"] = _shown_rich

if TYPE_CHECKING:
    from springtide.plugins.loading import Plugins  # Slow to import.

logger = structlog.stdlib.get_logger(__name__)


def configure_logging(settings: LogSettings | None = None, process: str = "", stream: TextIO | None = None) -> None:
    """Send our logs and those of the libraries to one stream, in one form.

    Args:
        settings: The form, and the least severe level of our own events that is written; the defaults if None.
            Libraries log from WARNING on.
        process: Name of this process, which stands in each line; without one, it is left out.
        stream: Standard error if None, so that standard output stays free for what a command prints.
    """
    settings = settings or LogSettings()
    target = stream or sys.stderr
    is_text = settings.format == "text" or (settings.format == "auto" and target.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if is_text else "iso", utc=not is_text),
    ]
    as_text: list[structlog.typing.Processor] = [LineRenderer(process, is_coloured=_takes_colour(target))]

    def add_process(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        if process:
            event["process"] = process
        return event

    as_json: list[structlog.typing.Processor] = [
        add_process,
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
    handler = logging.StreamHandler(stream or _StandardError())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *(as_text if is_text else as_json),
                lambda _logger, _method, line: hidden(str(line)),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)
    for package in ("springtide", "springtide_plugins", "springtide_services"):
        logging.getLogger(package).setLevel(settings.level.upper())
    # Ingest logs once when the broker goes and once when it is back; kafka-python logs it ten times a second.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)


def log_settings(settings: Settings) -> None:
    """Log the settings that differ from their defaults, once at a process's start, with all secrets masked.

    From then on they are masked wherever they stand in what is logged.
    """
    hide_in_output(settings)
    logger.info("settings", changed=_changes(masked(settings), masked(Settings())))


def log_plugins(plugins: "Plugins") -> None:
    """Log, once at a process's start, which plugins beside the built-in ones are imported, and which are left out."""
    for plugin in plugins.loaded:
        if plugin.way != "built in":
            logger.info("plugin_loaded", plugin=plugin.name, origin=plugin.origin, way=plugin.way)
    for package in plugins.not_allowed:
        logger.info("plugin_not_allowed", package=package.distribution, version=package.version)
    for failure in plugins.failures:
        logger.warning("plugin_left_out", plugin=failure.plugin, origin=failure.origin, reason=failure.reason)


class _StandardError:
    """Writes to standard error as it is at the time: a progress display replaces it, to print lines above its bars."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def _takes_colour(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _changes(values: dict[str, Any], defaults: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Return the values that are not the default ones, by dotted path; a table with other keys is there whole."""
    changes: dict[str, Any] = {}
    for key, value in values.items():
        default, here = defaults[key], f"{path}{key}"
        if isinstance(value, dict) and isinstance(default, dict) and value.keys() == default.keys():
            changes |= _changes(value, default, f"{here}.")
        elif value != default:
            changes[here] = value
    return changes
