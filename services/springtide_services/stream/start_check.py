"""The check of Kafka at a server's start: what is not as it should be is logged once, beside the start."""

import threading
from types import TracebackType
from typing import Self

import structlog

from springtide.settings.model import Settings
from springtide_services.findings import Level
from springtide_services.stream.broker_errors import BrokerProblemError
from springtide_services.stream.kafka_check import findings
from springtide_services.stream.kafka_facts import KafkaFacts, read_facts

logger = structlog.stdlib.get_logger(__name__)

_RETRY_S = 2.0
_STOP_TIMEOUT_S = 5.0


class StartCheck:
    """Checks Kafka once in a thread of its own, as soon as it answers: ``with StartCheck(settings): serve()``.

    It never raises and nothing waits for it: what ingest needs, ingest waits for by itself.

    Args:
        settings: All settings.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kafka-check", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join(_STOP_TIMEOUT_S)

    def _run(self) -> None:
        facts = self._read_facts()
        if facts is None:
            return
        for finding in findings(facts, self._settings):
            if finding.level in (Level.WARNING, Level.FAILURE):
                logger.warning(
                    "kafka_checked",
                    level_found=finding.level.value,
                    message=finding.message,
                    advice=finding.advice,
                    command=finding.command,
                )

    def _read_facts(self) -> KafkaFacts | None:
        """Ask the cluster until it answers, or until the check is stopped."""
        while not self._stopping.is_set():
            try:
                return read_facts(self._settings)
            except BrokerProblemError:  # Ingest logs it.
                self._stopping.wait(_RETRY_S)
            except Exception as error:  # The start must not depend on what a broker may answer.
                logger.warning("kafka_not_checked", error=f"{type(error).__name__}: {error}")
                return None
        return None
