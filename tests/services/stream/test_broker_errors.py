"""Errors of the broker in words: what is wrong and the way out, never a request's dump."""

import pytest
from kafka import errors

from springtide.errors import OffsetsLostError
from springtide.settings.model import KafkaSettings
from springtide_services.stream.broker_errors import Need, explain, explain_damage
from springtide_services.stream.record_batches import Damage

KAFKA = KafkaSettings(
    bootstrap_servers="kafka-1:9092,kafka-2:9092",
    topic="shop events",
    client_options={"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "sasl_plain_username": "ann"},
)
DUMP = "CreateTopicsRequest(topics=[CreatableTopic(name='springtide.dead-letters', num_partitions=1)]) failed"


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (errors.KafkaConnectionError("socket disconnected"), "unreachable", "does not speak SASL_SSL"),
        (errors.KafkaConnectionError("111 ECONNREFUSED"), "unreachable", "no broker answers on kafka-1:9092"),
        (errors.KafkaConnectionError("Handshake failed: certificate verify failed"), "tls", "ssl_cafile"),
        (errors.KafkaConnectionError("Handshake failed: [SSL: WRONG_VERSION_NUMBER]"), "tls", "does not speak TLS"),
        (errors.KafkaTimeoutError("Unable to bootstrap"), "unreachable", "Unable to bootstrap"),
        (errors.NotLeaderForPartitionError(), "unreachable", "cannot serve topic 'shop events' now (NotLeader"),
        (errors.SaslAuthenticationFailedError("bad"), "authentication", "name or password of user 'ann' (PLAIN)"),
        (errors.UnsupportedSaslMechanismError(), "authentication", "SASL mechanism 'PLAIN'"),
        (errors.IllegalSaslStateError(), "authentication", "knows no users"),
        (errors.TopicAuthorizationFailedError({"x"}), "authorization", "--topic 'shop events'"),
        (errors.KafkaError("Unexpected error: ClusterAuthorizationFailedError"), "authorization", "user 'ann' may not"),
        (errors.UnsupportedCodecError("zstd"), "codec", "install zstandard"),
        (errors.InvalidReceiveError("frame"), "protocol", "does not speak Kafka's protocol"),
        (errors.UnsupportedVersionError("x"), "protocol", "version"),
        (errors.KafkaConfigurationError("wanted x"), "settings", "wanted x"),
        (errors.InvalidTopicError(DUMP), "protocol", "InvalidTopic"),
        (OffsetsLostError("offsets are lost"), "offsets_lost", "offsets are lost"),
        (RuntimeError("x"), "internal", "RuntimeError: x"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_error_is_a_sentence_of_its_kind(error: Exception, kind: str, words: str) -> None:
    problem = explain(error, KAFKA)
    assert problem.kind == kind
    assert words in problem.message
    assert "Request(" not in problem.message
    assert "[Error" not in problem.message
    assert problem.heals == (kind == "unreachable")


def test_way_out_of_a_missing_right_is_a_command() -> None:
    need = Need("group", "springtide-host", ("Read",))
    assert explain(errors.GroupAuthorizationFailedError("springtide-host"), KAFKA, need).message == (
        "user 'ann' may not Read group 'springtide-host'; to allow it: kafka-acls --bootstrap-server kafka-1:9092 "
        "--add --allow-principal User:ann --operation Read --group springtide-host"
    )


@pytest.mark.parametrize(
    ("error", "next_offset", "kind", "words"),
    [
        (
            errors.UnsupportedCodecError("Libraries for zstd compression codec not found"),
            9,
            "codec",
            "records 7 to 8 of partition 2 of topic 'springtide.events' are compressed with zstd, and its library is "
            "not installed (install zstandard, then restart; the other partitions are read on)",
        ),
        (errors.UnsupportedCodecError("Unrecognized compression type: 7"), 9, "damaged", "no known codec"),
        (errors.CorruptRecordError("Record batch failed crc check"), 8, "damaged", "record 7 of partition 2"),
        (errors.UnknownError("the broker cannot read its log there"), 8, "damaged", "the broker cannot read its log"),
        (EOFError(), 9, "damaged", "the batch cannot be decompressed: EOFError"),
    ],
)
def test_damage_names_records_partition_and_the_way_out(
    error: Exception, next_offset: int, kind: str, words: str
) -> None:
    problem = explain_damage(Damage(2, 7, next_offset, error), KafkaSettings())
    assert problem.kind == kind
    assert not problem.heals
    assert words in problem.message
    assert ("springtide serve --skip-lost" in problem.message) == (kind == "damaged")
