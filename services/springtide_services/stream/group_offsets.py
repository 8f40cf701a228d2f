"""Offsets committed to a consumer group, so that Kafka's own tools show how far the graph is; never read back."""

import socket
import time
from collections.abc import Mapping

import structlog
from kafka import KafkaAdminClient, TopicPartition
from kafka.errors import NoError, RetriableError
from kafka.structs import OffsetAndMetadata

from springtide.checkpoint import Checkpoint
from springtide.clock import Deadline
from springtide.settings.model import KafkaSettings, Settings
from springtide_services.stream.broker_errors import Need, explain
from springtide_services.stream.topics import check_connection, client_config

logger = structlog.stdlib.get_logger(__name__)

_COORDINATOR_S = 5.0
_RETRY_S = 0.1
_TIMEOUTS = {"bootstrap_timeout_ms": 5_000, "request_timeout_ms": 5_000}


def group_name(settings: Settings) -> str:
    """Return the name of the group that a server commits to; an empty string if it commits to none."""
    name = settings.kafka.group_id.replace("{host}", socket.gethostname())
    return name.replace("{port}", str(settings.server.port))


class GroupOffsets:
    """Commits a checkpoint's offsets to the group of the settings. A failure is logged once, until one succeeds again.

    Args:
        settings: The broker and the group.
    """

    def __init__(self, settings: Settings) -> None:
        self._kafka = settings.kafka
        self._group = group_name(settings)
        self._is_failing = False

    def commit(self, checkpoint: Checkpoint) -> None:
        """Commit the offsets of a durable checkpoint; never raises, and takes seconds at most."""
        position = checkpoint.position
        if not self._group or position is None or not position.next_offsets:
            return
        offsets = {
            TopicPartition(position.topic, partition): OffsetAndMetadata(offset, checkpoint.name, -1)
            for partition, offset in position.next_offsets.items()
        }
        try:
            check_connection(self._kafka)
            with KafkaAdminClient(**{**_TIMEOUTS, **client_config(self._kafka)}) as admin:
                self._commit(admin, offsets)
        except Exception as error:  # For show alone: whatever it is, the checkpoint is written.
            self._log_failure(error, self._kafka)
        else:
            self._is_failing = False

    def _commit(self, admin: KafkaAdminClient, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        """Commit offsets; a new cluster's first commit waits until the topic of all groups exists."""
        deadline = Deadline.after(_COORDINATOR_S)
        while True:
            try:
                for partition, error in admin.alter_group_offsets(self._group, offsets).items():
                    if error is not NoError:
                        raise error(f"partition {partition.partition}")
                return
            except RetriableError:
                if deadline.is_over():
                    raise
            time.sleep(_RETRY_S)

    def _log_failure(self, error: Exception, kafka: KafkaSettings) -> None:
        if not self._is_failing:
            problem = explain(error, kafka, Need("group", self._group, ("Read",)))
            logger.warning("group_offsets_not_committed", group=self._group, error=problem.message)
        self._is_failing = True
