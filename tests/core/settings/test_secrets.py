"""What is masked in settings, and in all that a process writes once it knows them."""

import json
from typing import Any

import pytest

from springtide.settings.load import LoadedSettings
from springtide.settings.model import Settings
from springtide.settings.secrets import hidden, hide_in_output, masked
from springtide.settings.view import to_toml

SECRETS: list[tuple[dict[str, Any], list[str]]] = [
    ({"kafka": {"bootstrap_servers": "ann:hunter-01@b:9092,bob:hunter-02@[::1]:9093"}}, ["hunter-01", "hunter-02"]),
    ({"kafka": {"client_options": {"pass": "hunter-03", "passphrase": "hunter-04"}}}, ["hunter-03", "hunter-04"]),
    ({"kafka": {"client_options": {"private_key": "hunter-05", "any": ["hunter-06"]}}}, ["hunter-05", "hunter-06"]),
    ({"kafka": {"client_options": {"nested": {"deep": "hunter-07"}}}}, ["hunter-07"]),
    ({"checkpoint": {"url": "s3://bucket/state?secret=hunter-08&region=hunter-09"}}, ["hunter-08", "hunter-09"]),
    ({"model": {"url": "s3://key:hunter@10@bucket/models"}}, ["hunter@10"]),
    ({"events": {"decoders": {"mine": {"url": "u://u:hunter-11@r", "a": "hunter-12"}}}}, ["hunter-11", "hunter-12"]),
    ({"ranking": {"context_weights": {"mine": {"service": "hunter-13"}}}}, ["hunter-13"]),
    ({"model": {"encoder": {"name": "mine", "options": {"key": "hunter-14"}}}}, ["hunter-14"]),
]


@pytest.mark.parametrize(("tree", "secrets"), SECRETS)
def test_secrets_are_masked_wherever_they_stand(tree: dict[str, Any], secrets: list[str]) -> None:
    settings = Settings.model_validate(tree)
    shown = json.dumps(masked(settings)) + to_toml(LoadedSettings(settings, {}))
    for secret in secrets:
        assert secret not in shown
    hide_in_output(settings)
    written = hidden(f"it failed: {' '.join(secrets)}, {json.dumps(tree)}")
    for secret in secrets:
        assert secret not in written


def test_what_is_no_secret_is_shown() -> None:
    tree: dict[str, Any] = {
        "kafka": {
            "bootstrap_servers": "broker:9092,[::1]:9093",
            "client_options": {"security_protocol": "SASL_SSL", "ssl.ca.location": "ca.pem", "retries": 3},
        },
        "attributes": {"item": {"password": "text"}},
        "interactions": {"rating>=4": {"weight": 0.5}},
        "model": {"url": "s3://bucket/models", "aggregator": ["mean", "max"]},
    }
    shown = masked(Settings.model_validate(tree))
    assert shown["kafka"]["bootstrap_servers"] == "broker:9092,[::1]:9093"
    assert shown["kafka"]["client_options"] == tree["kafka"]["client_options"]
    assert shown["attributes"] == tree["attributes"]
    assert shown["model"]["aggregator"]["options"] == {"of": ["mean", "max"]}
    assert masked(Settings()) == json.loads(Settings().model_dump_json())


@pytest.mark.parametrize(
    "line",
    [
        "listening on 127.0.0.1:50051",
        "wanted host:port, got broker",
        '{"address": "a:1", "next_offsets": {"0": 1}, "mail": "ann@example.com"}',
        "why? because a=b",
        "s3://bucket/a@b",
    ],
)
def test_lines_without_secrets_stay_as_they_are(line: str) -> None:
    assert hidden(line) == line
