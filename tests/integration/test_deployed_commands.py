"""What deploy/compose.yaml starts, without containers: its commands, environment, settings and secrets.

Only paths and ports are this test's, and the broker; Kubernetes starts the same commands (``tests/test_deploy.py``).
"""

import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from springtide_services.addresses import free_port
from springtide_services.local.supervisor import Child, Supervisor

DEPLOY = Path(__file__).parents[2] / "deploy"
SPRINGTIDE = Path(sys.executable).with_name("springtide")
SERVICES: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
BUDGET_S = 120.0
pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True, slots=True)
class Deployed:
    """What runs.

    Attributes:
        folder: Where secrets and state are.
        ports: By what listens there: ``grpc``, ``admin``, ``console``, ``metrics``, ``trainer_metrics``.
        environment: Environment of all processes.
        tokens: Tokens by role.
        supervisor: Looks after the processes.
    """

    folder: Path
    ports: dict[str, int]
    environment: dict[str, str]
    tokens: dict[str, str]
    supervisor: Supervisor

    @property
    def ca(self) -> Path:
        return self.folder / "secrets" / "ca.pem"

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SPRINGTIDE, *words],
            env={**os.environ, **self.environment},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=BUDGET_S,
            check=False,
        )

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + BUDGET_S
        while not is_so():
            self.supervisor.check()
            logs = "\n".join(log.read_text() for log in self.folder.glob("*.log"))
            assert time.monotonic() < deadline, f"{what}\n{logs}"
            time.sleep(0.2)

    def get(self, port: str, path: str, token: str = "") -> tuple[int, str]:
        """Ask by HTTPS, as somebody who trusts the authority alone and calls the machine by its name in compose."""
        context = ssl.create_default_context(cafile=str(self.ca))
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[port], timeout=60)
        try:
            plain = socket.create_connection(("127.0.0.1", self.ports[port]), timeout=60)
            connection.sock = context.wrap_socket(plain, server_hostname="server")
            headers = {"Host": f"localhost:{self.ports[port]}"}
            connection.request("GET", path, headers=headers | ({"Authorization": f"Bearer {token}"} if token else {}))
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def deployed(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("deployed")
    secrets = folder / "secrets"
    subprocess.run([DEPLOY / "make-secrets.sh", secrets, "server"], check=True, capture_output=True, timeout=60)
    ports = {name: free_port() for name in ("grpc", "admin", "console", "metrics", "trainer_metrics")}

    def here(text: str) -> str:
        for there, ours in [
            ("/var/lib/springtide", str(folder / "state")),
            ("/etc/springtide-secrets", str(secrets / "server")),
            ("kafka:9092", broker),
            ("localhost:50051", f"localhost:{ports['grpc']}"),
        ]:
            text = text.replace(there, ours)
        return text

    (folder / "springtide.toml").write_text(here((DEPLOY / "springtide.toml").read_text(encoding="utf-8")))
    environment = {
        **SERVICES["server"]["environment"],
        "SPRINGTIDE_SETTINGS": str(folder / "springtide.toml"),
        "SPRINGTIDE_KAFKA__TOPIC": f"test.events-deployed-{os.getpid()}",
        "SPRINGTIDE_KAFKA__DEAD_LETTER_TOPIC": f"test.dead-letters-deployed-{os.getpid()}",
        "SPRINGTIDE_TRAINING__NICENESS": "0",  # Tests beside this one keep the cores busy.
        "SPRINGTIDE_SERVER__PORT": str(ports["grpc"]),
        "SPRINGTIDE_SERVER__ADMIN_PORT": str(ports["admin"]),
        "SPRINGTIDE_CONSOLE__PORT": str(ports["console"]),
        "SPRINGTIDE_METRICS__PORT": str(ports["metrics"]),
        "SPRINGTIDE_METRICS__TRAINER_PORT": str(ports["trainer_metrics"]),
    }
    tokens: dict[str, str] = {}
    with contextlib.chdir(folder), Supervisor(restarts=False) as supervisor:
        running = Deployed(folder, ports, environment, tokens, supervisor)
        for role in ("client", "operator"):
            words = ["tokens", "new", "--file", str(secrets / "server" / "tokens"), "--role", role, "--name", role]
            done = running.run(*words)
            assert done.returncode == 0, done.stderr
            tokens[role] = done.stdout.strip()
        for name in ("server", "console", "trainer"):
            assert SERVICES[name]["environment"] == SERVICES["server"]["environment"]
            command = [here(word) for word in SERVICES[name]["command"]]
            supervisor.add(Child(name, command, environment, folder / f"{name}.log"))
        yield running


def test_health_check_of_the_image_says_when_the_server_is_ready(deployed: Deployed) -> None:
    (healthcheck,) = re.findall(r"^HEALTHCHECK .* CMD (\[.*\])$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    _, *words = json.loads(healthcheck)
    deployed.until(lambda: deployed.run(*words).returncode == 0, "the server is not ready")


def test_client_gets_an_answer_by_tls_with_a_token_alone(deployed: Deployed) -> None:
    address = f"localhost:{deployed.ports['grpc']}"
    ask = ["recommend", "ann", "--address", address, "--tls-ca", str(deployed.ca)]
    deployed.until(lambda: deployed.run(*ask, "--token", deployed.tokens["client"]).returncode == 0, "no answer")
    assert deployed.run(*ask).returncode != 0


def test_console_is_served_by_tls(deployed: Deployed) -> None:
    def is_there() -> bool:
        with contextlib.suppress(ConnectionError):
            status, page = deployed.get("console", "/")
            return status == 200 and "Springtide" in page
        return False

    deployed.until(is_there, "no console")


@pytest.mark.parametrize("port", ["metrics", "trainer_metrics"])
def test_metrics_are_for_operators(deployed: Deployed, port: str) -> None:
    def is_there() -> bool:
        with contextlib.suppress(ConnectionError):
            return deployed.get(port, "/metrics", deployed.tokens["operator"])[0] == 200
        return False

    deployed.until(is_there, f"no {port}")
    assert deployed.get(port, "/metrics")[0] == 401


@pytest.mark.long
def test_prometheus_of_compose_reads_both(deployed: Deployed) -> None:
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        pytest.skip("needs prometheus")
    folder = deployed.folder / "prometheus"
    folder.mkdir()
    (folder / "token").write_text(deployed.tokens["operator"] + "\n")
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8").replace("15s", "1s")
    for there, ours in [
        ("/etc/springtide-secrets/prometheus-token", str(folder / "token")),
        ("/etc/springtide-secrets/ca.pem", str(deployed.ca)),
        ("server:9464", f"localhost:{deployed.ports['metrics']}"),
        ("trainer:9465", f"localhost:{deployed.ports['trainer_metrics']}"),
    ]:
        assert there in text
        text = text.replace(there, ours)
    (folder / "prometheus.yml").write_text(text)
    shutil.copy(DEPLOY / "prometheus" / "alerts.yaml", folder)
    address = f"127.0.0.1:{free_port()}"
    options = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]

    def reads_both() -> bool:
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(f"http://{address}/api/v1/query?query=up", timeout=60) as answer:
                found = json.load(answer)["data"]["result"]
            return {(each["metric"]["job"], each["value"][1]) for each in found} == {
                ("springtide-server", "1"),
                ("springtide-trainer", "1"),
            }
        return False

    with (folder / "log").open("wb") as log:
        words = [prometheus, *options, f"--web.listen-address={address}"]
        process = subprocess.Popen(words, stdout=log, stderr=log)
        try:
            deployed.until(reads_both, (folder / "log").read_text())
        finally:
            process.terminate()
            process.wait(60)
