"""No secret of the settings stands in anything that a run writes: its output, its answers, its files."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from springtide.settings.model import KafkaSettings

SPRINGTIDE = Path(sys.executable).with_name("springtide")
SECRETS = [f"hunter-{number:02}" for number in range(1, 9)]
BUDGET_S = 120.0  # A busy machine needs long to start a server.
EVERYWHERE = """
[kafka]
bootstrap_servers = "ann:hunter-01@{servers}"
client_options = {{ sasl_plain_password = "hunter-02", passphrase = "hunter-03", ssl_password = "hunter-04" }}
[checkpoint]
url = "state/checkpoints?secret=hunter-05"
[model]
url = "state/models?key=hunter-06"
[model.encoder]
name = "lightgcn"
options = {{ private_key = "hunter-07" }}
[ranking.context_weights.popularity]
token_of_mine = "hunter-08"
"""
WHERE_A_SERVER_RUNS = """
[kafka]
bootstrap_servers = "{servers}"
topic = "{topic}"
client_options = {{ sasl_plain_username = "ann", sasl_plain_password = "hunter-02" }}
[checkpoint]
url = "state/checkpoints?secret=hunter-05"
[model]
url = "state/models?key=hunter-06"
[server]
port = 0
"""


def start(folder: Path, settings: str, *arguments: str) -> "subprocess.Popen[bytes]":
    (folder / "springtide.toml").write_text(settings)
    environment = {name: value for name, value in os.environ.items() if name != "KAFKA_BOOTSTRAP_SERVERS"}
    with (folder / "output").open("wb") as log:
        return subprocess.Popen(
            [SPRINGTIDE, *arguments], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
        )


def refuse_secrets(folder: Path) -> None:
    """Fail if a file below the folder, but for the settings, holds a secret."""
    assert (folder / "output").read_bytes()
    for file in folder.rglob("*"):
        if file.is_file() and file.name != "springtide.toml":
            content = file.read_bytes().decode(errors="replace")
            assert [secret for secret in SECRETS if secret in content] == [], f"{file}:\n{content[:3_000]}"


@pytest.mark.parametrize("arguments", [["config", "show"], ["serve"], ["train"], ["check", "kafka"]])
def test_no_command_prints_a_secret(
    tmp_path: Path, fresh_kafka: Callable[[], KafkaSettings], arguments: list[str]
) -> None:
    process = start(tmp_path, EVERYWHERE.format(servers=fresh_kafka().bootstrap_servers), *arguments)
    try:
        process.wait(BUDGET_S)  # They end by themselves: the settings are shown, or refused.
    finally:
        process.kill()
    refuse_secrets(tmp_path)


@pytest.mark.timeout(300)
def test_a_server_writes_no_secret(tmp_path: Path, fresh_kafka: Callable[[], KafkaSettings]) -> None:
    kafka = fresh_kafka()
    settings = WHERE_A_SERVER_RUNS.format(servers=kafka.bootstrap_servers, topic=kafka.topic)
    process = start(tmp_path, settings, "serve")
    try:
        deadline = time.monotonic() + BUDGET_S
        while b'"serving"' not in (tmp_path / "output").read_bytes():
            assert process.poll() is None, (tmp_path / "output").read_text()
            assert time.monotonic() < deadline, (tmp_path / "output").read_text()
            time.sleep(0.05)
        process.terminate()
        assert process.wait(BUDGET_S) == 0
    finally:
        process.kill()
    refuse_secrets(tmp_path)
