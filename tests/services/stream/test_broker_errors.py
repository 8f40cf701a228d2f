"""Errors of the broker in words: what is wrong and the way out, never a request's dump."""

import pytest
from kafka import errors

from springtide.errors import OffsetsLostError
from springtide.settings.model import KafkaSettings
from springtide_services.stream.broker_errors import DamagedBatchError, Need, explain

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
        (DamagedBatchError("a batch is damaged"), "damaged", "a batch is damaged"),
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
