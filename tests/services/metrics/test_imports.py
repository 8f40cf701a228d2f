"""Without a port, nothing of Prometheus is imported; with one, nothing that is heavy."""

import subprocess
import sys


def imported_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_a_server_and_a_trainer_without_metrics_import_no_client_library() -> None:
    code = "import springtide_services.serving.server, springtide_services.training.trainer"
    assert "prometheus_client" not in imported_by(code)


def test_the_endpoint_imports_neither_grpc_nor_arrays() -> None:
    found = imported_by("import springtide_services.metrics.endpoint, springtide_services.training.measuring")
    assert "prometheus_client" in found
    assert not found & {"grpc", "numpy", "torch", "starlette", "opentelemetry"}
