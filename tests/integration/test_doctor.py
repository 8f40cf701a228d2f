"""`springtide doctor` on a running server, and on what is broken around it."""

import asyncio
import json
import os
import subprocess
import sys

import pytest
from kafka import KafkaAdminClient, TopicPartition

from springtide.checkpoint import CheckpointStore
from springtide.settings.model import KafkaSettings, Settings
from springtide.v1 import admin_pb2
from springtide_services.doctor.history import history_findings
from springtide_services.findings import Level
from springtide_services.stream.topics import client_config


def doctor(settings: Settings, address: str, folder) -> tuple[int, dict[str, list[dict[str, str]]]]:
    environment = {
        **os.environ,
        "SPRINGTIDE_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "SPRINGTIDE_KAFKA__TOPIC": settings.kafka.topic,
        "SPRINGTIDE_KAFKA__DEAD_LETTER_TOPIC": settings.kafka.dead_letter_topic,
        "SPRINGTIDE_CHECKPOINT__URL": settings.checkpoint.url,
        "SPRINGTIDE_MODEL__URL": settings.model.url,
    }
    command = [sys.executable, "-m", "springtide_services.cli", "doctor", "--json", "--address", address]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)
    assert not ended.stderr, ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def test_doctor_names_what_a_running_server_has_refused_and_the_command_that_shows_it(
    settings, run_server, publish, make_purchase, tmp_path
):
    bad = make_purchase("ann", "tent")
    bad.interaction.type = "no such type"

    async def ask():
        async with run_server(settings) as running:
            await asyncio.to_thread(publish, settings, [make_purchase("ann", "tent"), bad])
            while not (await running.admin.GetStatus(admin_pb2.GetStatusRequest())).num_dead_letters:
                await asyncio.sleep(0.05)
            return await asyncio.to_thread(doctor, settings, running.server.admin_address, tmp_path)

    code, found = asyncio.run(asyncio.wait_for(ask(), 120))
    by_subject = {each["subject"]: each for each in found["server"]}
    assert by_subject["server"]["level"] == "ok"
    assert by_subject["stream"]["level"] == "ok"
    assert by_subject["dead letters"]["command"] == "springtide dead-letters list"
    assert {each["level"] for each in found["Kafka"]} <= {"ok", "warning", "unknown"}
    assert code == 0


def test_doctor_fails_where_no_server_answers_and_looks_at_the_rest(settings, tmp_path):
    code, found = doctor(settings, "127.0.0.1:1", tmp_path)
    assert code == 1
    assert found["server"][0]["level"] == "failure"
    assert found["state"]


@pytest.mark.kafka
def test_events_that_retention_has_taken_before_a_restart_could_read_them_are_a_failure(
    settings: Settings, run_server, publish, make_purchase
):
    async def read_some():
        async with run_server(settings):
            await asyncio.to_thread(publish, settings, [make_purchase("ann", "tent")])

    asyncio.run(read_some())  # Its end writes a checkpoint.
    assert CheckpointStore(settings.checkpoint.url).latest() is not None
    assert {finding.level for finding in history_findings(settings)} <= {Level.OK}
    position = publish(settings, [make_purchase(f"u{number}", "tent") for number in range(20)])
    _delete_before(settings.kafka, position.next_offsets)
    found = list(history_findings(settings))
    assert [finding.level for finding in found] == [Level.FAILURE]
    assert found[0].command == "springtide serve --skip-lost"


def _delete_before(kafka: KafkaSettings, next_offsets) -> None:
    with KafkaAdminClient(**client_config(kafka)) as admin:
        admin.delete_records({TopicPartition(kafka.topic, number): offset for number, offset in next_offsets.items()})
