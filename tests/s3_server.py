"""An S3 server of this machine for tests: moto's, as a process of its own on a free port.

``python s3_server.py`` serves until its standard input ends; its first line is its address. moto looks at the condition
of a write and then writes, in two steps; those of S3 are one, so here writes come one after the other.
"""

import contextlib
import logging
import os
import subprocess
import sys
import threading
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

_AUTHORIZATION = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"


def environment_for(address: str) -> dict[str, str]:
    """Return the variables by which clients find the server."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """Run a server, and yield its address."""
    command = [sys.executable, str(Path(__file__).resolve())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def new_bucket(address: str) -> str:
    """Make a bucket, and return its URL."""
    name = f"bucket-{uuid.uuid4().hex}"
    request = urllib.request.Request(f"{address}/{name}", method="PUT", headers={"Authorization": _AUTHORIZATION})
    with urllib.request.urlopen(request, timeout=30):
        return f"s3://{name}"


def main() -> None:
    """Serve until standard input ends."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Handler(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"  # Connections are used again.

    application = DomainDispatcherApplication(create_backend_app)
    changing = threading.Lock()

    def one_write_at_a_time(environ, start_response):
        with contextlib.nullcontext() if environ["REQUEST_METHOD"] in ("GET", "HEAD") else changing:
            return application(environ, start_response)

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, one_write_at_a_time, threaded=True, request_handler=Handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
