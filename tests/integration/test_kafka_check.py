"""`springtide check kafka` on a Kafka: what it finds, and that the commands which it prints mend it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from kafka import KafkaAdminClient

from springtide.settings.model import KafkaSettings, Settings
from springtide_services.findings import Finding, Level
from springtide_services.logs import configure_logging
from springtide_services.stream.kafka_check import check_kafka
from springtide_services.stream.start_check import StartCheck
from springtide_services.stream.topics import client_config

CODECS = "codecs"  # They depend on what is installed here, not on the Kafka.


def not_ok(kafka: KafkaSettings) -> dict[str, Finding]:
    found = check_kafka(Settings(kafka=kafka))
    return {
        finding.subject: finding for finding in found if finding.level is not Level.OK and finding.subject != CODECS
    }


def test_broker_without_rights_and_topic_settings_has_no_failure(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    found = check_kafka(Settings(kafka=fresh_kafka(num_partitions=2)))
    assert not [finding for finding in found if finding.level is Level.FAILURE]
    assert [finding.message for finding in found if finding.subject == "partitions"]


@pytest.mark.kafka
@pytest.mark.usefixtures("has_access_rules")
def test_commands_that_are_printed_give_every_right_that_is_missing(
    fresh_kafka: Callable[..., KafkaSettings],
    on_listener: Callable[..., KafkaSettings],
    run_kafka_command: Callable[[str], None],
) -> None:
    plain = fresh_kafka(num_partitions=2)
    kafka = on_listener(plain, "SASL_PLAINTEXT").model_copy(update={"group_id": plain.topic})
    missing = not_ok(kafka)
    assert missing.keys() >= {"rights", "dead letters", "group"}
    assert missing["rights"].level is Level.FAILURE
    while commands := [
        finding.command for finding in not_ok(kafka).values() if finding.command.startswith("kafka-acls")
    ]:
        for command in commands:  # The right to describe the settings is missed only once the topic can be seen.
            run_kafka_command(command.replace(kafka.bootstrap_servers, plain.bootstrap_servers))
    left = not_ok(kafka)
    assert {subject: finding.level for subject, finding in left.items() if subject != "retention"} == {
        "clock": Level.UNKNOWN,  # The right to describe the cluster is not one that a server needs.
        "group": Level.UNKNOWN,  # It does not exist before the first checkpoint.
    }


@pytest.mark.kafka
def test_commands_that_are_printed_set_a_topic_as_it_should_be(
    fresh_kafka: Callable[..., KafkaSettings], run_kafka_command: Callable[[str], None]
) -> None:
    kafka = fresh_kafka(num_partitions=1)
    kafka = kafka.model_copy(update={"num_partitions": 3, "group_id": kafka.topic})  # A group that does not exist yet.
    servers = kafka.bootstrap_servers.split(",")[0]
    run_kafka_command(
        f"kafka-configs --bootstrap-server {servers} --alter --entity-type topics --entity-name {kafka.topic} "
        "--add-config cleanup.policy=compact,max.message.bytes=50000000,retention.bytes=1000000"
    )
    found = not_ok(kafka)
    assert {subject: finding.level for subject, finding in found.items()} == {
        "partitions": Level.WARNING,
        "cleanup policy": Level.FAILURE,
        "record size": Level.WARNING,
        "group": Level.UNKNOWN,
    }
    for finding in found.values():
        if finding.command:
            run_kafka_command(finding.command)
    run_kafka_command(not_ok(kafka)["retention"].command)  # Compaction alone removes nothing by age.
    assert not_ok(kafka).keys() <= {"group"}


@pytest.mark.kafka
def test_clock_of_the_brokers_is_known(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    (finding,) = [finding for finding in check_kafka(Settings(kafka=fresh_kafka())) if finding.subject == "clock"]
    assert finding.level is Level.OK
    assert "differ by" in finding.message


@pytest.mark.kafka
def test_wrong_password_is_the_one_finding(
    fresh_kafka: Callable[..., KafkaSettings], on_listener: Callable[..., KafkaSettings]
) -> None:
    kafka = on_listener(fresh_kafka(), "SASL_PLAINTEXT")
    options = kafka.client_options | {"sasl_plain_password": "wrong"}
    (finding,) = check_kafka(Settings(kafka=kafka.model_copy(update={"client_options": options})))
    assert finding.level is Level.FAILURE
    assert "password" in finding.message


@pytest.mark.kafka
def test_command_ends_with_1_if_anything_fails(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    kafka = fresh_kafka()
    variables = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "SPRINGTIDE_KAFKA__TOPIC": kafka.topic,
        "SPRINGTIDE_KAFKA__DEAD_LETTER_TOPIC": kafka.dead_letter_topic,
    }

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "springtide_services.cli", "check", "kafka", *words]
        return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)

    done = run("--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"subject", "level", "message", "advice", "command"} == set(json.loads(done.stdout)[0])
    with KafkaAdminClient(**client_config(kafka)) as admin:
        admin.delete_topics([kafka.topic])
        admin.create_topics({kafka.topic: {"num_partitions": 4, "configs": {"cleanup.policy": "compact"}}})
        admin.wait_for_topics([kafka.topic])
    done = run()
    assert done.returncode == 1, done.stdout + done.stderr
    assert "failure  cleanup policy: " in done.stdout


@pytest.mark.kafka
def test_findings_are_logged_once_at_the_start(
    fresh_kafka: Callable[..., KafkaSettings], capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(kafka=fresh_kafka(num_partitions=1).model_copy(update={"num_partitions": 3}))
    configure_logging(settings.log, "server")
    with StartCheck(settings) as check:
        check._thread.join(20.0)
    lines = [line for line in capsys.readouterr().err.splitlines() if settings.kafka.topic in line]
    assert len([line for line in lines if "kafka.num_partitions is 3" in line]) == 1
    assert len([line for line in lines if "graph.max_age_days" in line]) == 1


def test_start_check_without_a_broker_ends_at_once() -> None:
    settings = Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    with StartCheck(settings) as check:
        pass
    assert not check._thread.is_alive()
