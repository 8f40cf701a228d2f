"""Offsets of checkpoints are shown in a consumer group, and nothing depends on it."""

import time
from collections.abc import Callable
from pathlib import Path

import structlog
from kafka import KafkaAdminClient, TopicPartition

from springtide.checkpoint import Checkpoint, CheckpointStore
from springtide.settings.model import KafkaSettings, Settings
from springtide.state import LiveState, StreamPosition
from springtide_services.addresses import free_port
from springtide_services.stream.group_offsets import GroupOffsets, group_name
from springtide_services.stream.topics import client_config


def _checkpoint(settings: Settings, folder: Path) -> Checkpoint:
    state = LiveState(settings, {})
    state.position = StreamPosition(settings.kafka.topic, "", {0: 3, 1: 5})
    return CheckpointStore(str(folder)).write(state.snapshot())


def test_offsets_of_a_checkpoint_are_shown_in_the_group(
    fresh_kafka: Callable[..., KafkaSettings], tmp_path: Path
) -> None:
    settings = Settings(kafka=fresh_kafka(num_partitions=2))
    settings = settings.model_copy(
        update={"kafka": settings.kafka.model_copy(update={"group_id": f"of-{settings.kafka.topic}"})}
    )
    group = group_name(settings)
    with structlog.testing.capture_logs() as logs:
        GroupOffsets(settings).commit(_checkpoint(settings, tmp_path))
    assert logs == []
    with KafkaAdminClient(**client_config(settings.kafka)) as admin:
        offsets = admin.list_group_offsets([group])[group]
    shown = {partition: it.offset for partition, it in offsets.items() if it.offset >= 0}
    assert shown == {TopicPartition(settings.kafka.topic, 0): 3, TopicPartition(settings.kafka.topic, 1): 5}


def test_failure_is_logged_once_and_takes_no_time(tmp_path: Path) -> None:
    settings = Settings(kafka=KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}"))
    offsets, checkpoint = GroupOffsets(settings), _checkpoint(settings, tmp_path)
    started_s = time.monotonic()
    with structlog.testing.capture_logs() as logs:
        offsets.commit(checkpoint)
        offsets.commit(checkpoint)
    assert [log["event"] for log in logs] == ["group_offsets_not_committed"]
    assert time.monotonic() - started_s < 20.0


def test_each_server_has_a_group_of_its_own_or_none(tmp_path: Path) -> None:
    settings = Settings()
    assert group_name(settings).endswith(f"-{settings.server.port}")
    none = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"group_id": ""})})
    with structlog.testing.capture_logs() as logs:
        GroupOffsets(none).commit(_checkpoint(none, tmp_path))
    assert logs == []
