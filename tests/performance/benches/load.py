"""Load on a gRPC method: by h2load where it is installed, else by Python clients, which tire before a server does."""

import json
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

_HERE = Path(__file__).parents[1]
_WARM_UP_SHARE = 0.2  # Of the time, as in `children`.
_ATTEMPTS = 5
_MAX_BODIES = 4  # A process of h2load knows one request.

_h2load = shutil.which("h2load")
GENERATOR = "h2load, a few users" if _h2load else "Python clients, all users: no h2load here"


def asked(requests: Sequence[bytes], num_clients: int) -> Sequence[bytes]:
    """Return those of the requests that ``generate_load`` sends."""
    if not _h2load:
        return requests
    num = min(num_clients, _MAX_BODIES)
    return [requests[number * len(requests) // num] for number in range(num)]


def generate_load(
    address: str, method: str, requests: Sequence[bytes], num_clients: int, seconds: float
) -> list[float]:
    """Send requests over and over, from processes of their own; return the seconds that each answer took.

    Each client waits for its answer before it asks again. On a machine with much else to do even a bare echo may answer
    nothing in a third of a second, which is all that a tiny run takes: then it is asked again.
    """
    load = _by_h2load if _h2load else _by_python
    for _ in range(_ATTEMPTS):
        with tempfile.TemporaryDirectory() as folder:
            latencies = load(Path(folder), address, method, asked(requests, num_clients), num_clients, seconds)
        if latencies:
            return latencies
    raise AssertionError(f"no answer from {address} in {seconds} s, {_ATTEMPTS} times")


def _by_python(
    folder: Path, address: str, method: str, requests: Sequence[bytes], num_clients: int, seconds: float
) -> list[float]:
    bodies = folder / "requests"
    bodies.write_bytes(pickle.dumps(list(requests)))
    command = [sys.executable, "-m", "benches.children", "load", address, method, str(bodies)]
    command += [str(num_clients), str(seconds)]
    done = subprocess.run(command, cwd=_HERE, stdout=subprocess.PIPE, text=True, check=True)
    latencies: list[float] = json.loads(done.stdout)
    return latencies


def _by_h2load(
    folder: Path, address: str, method: str, requests: Sequence[bytes], num_clients: int, seconds: float
) -> list[float]:
    assert _h2load is not None
    running: list[subprocess.Popen[str]] = []
    for number, request in enumerate(requests):
        body = folder / f"{number}.body"
        body.write_bytes(b"\0" + len(request).to_bytes(4, "big") + request)  # gRPC's frame, not compressed.
        command = [_h2load, "--clients", str(num_clients // len(requests)), "--data", str(body)]
        command += [
            "--duration",
            f"{1_000 * seconds:.0f}ms",
            "--warm-up-time",
            f"{1_000 * _WARM_UP_SHARE * seconds:.0f}ms",
        ]
        command += ["--header", "content-type: application/grpc", "--header", "te: trailers"]
        command += ["--log-file", str(folder / f"{number}.log"), f"http://{address}{method}"]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    latencies: list[float] = []
    for number, process in enumerate(running):
        output, _ = process.communicate(timeout=30 + 3 * seconds)  # With hundreds of clients it may never end.
        assert process.returncode == 0, output
        for line in (folder / f"{number}.log").read_text(encoding="utf-8").splitlines():
            _, status, microseconds = line.split("\t")[:3]
            if status == "0":  # Its answer was still to come when the time was over.
                continue
            assert status == "200", f"an answer had HTTP status {status}"
            latencies.append(int(microseconds) / 1e6)
    return latencies
