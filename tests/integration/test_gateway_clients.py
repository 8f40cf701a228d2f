"""Others' clients through the gateway: the example in TypeScript, Connect's own in two languages, and `buf curl`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from connectrpc.client import ConnectClientSync
from connectrpc.code import Code
from connectrpc.compat import google_protobuf_binary_codec, google_protobuf_json_codec
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.protocol import ProtocolType

from springtide.v1 import recommender_pb2 as pb

EXAMPLE = Path(__file__).parents[2] / "protos" / "examples" / "clients" / "typescript"
SPRINGTIDE = Path(sys.executable).with_name("springtide")
SERVICE = "springtide.v1.RecommenderService"
BUF = Path(sys.executable).with_name("buf")
PROTOCOLS = ("connect", "json", "grpc-web", "grpc-web json")


def _run(folder: Path, *command: str, **variables: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3_000:]}\n{done.stderr[-3_000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, built as its README says."""
    if shutil.which("npm") is None:
        pytest.skip("needs Node and npm")
    folder = tmp_path_factory.mktemp("typescript") / "client"
    shutil.copytree(EXAMPLE, folder)
    install = ["npm", "install", "--no-audit", "--no-fund"]
    done = subprocess.run(install, cwd=folder, capture_output=True, text=True, check=False, timeout=150)
    if done.returncode != 0:
        pytest.skip(f"npm cannot install here: {done.stderr[-500:]}")
    _run(folder, str(SPRINGTIDE), "protos", "protos")
    _run(folder, "npx", "buf", "generate")
    _run(folder, "npx", "tsc")
    return folder


@pytest.fixture(scope="module")
def answers(gateway: Any, built: Path) -> dict[str, Any]:
    """What Connect's own clients got, by protocol."""
    shutil.copy(Path(__file__).with_name("official_clients.mjs"), built)
    answered: dict[str, Any] = json.loads(_run(built, "node", "official_clients.mjs", gateway.url, gateway.token))
    return answered


@pytest.mark.timeout(300)
def test_example_publishes_and_gets_an_answer_that_holds_it(gateway: Any, built: Path) -> None:
    where = {"SPRINGTIDE_GATEWAY": gateway.url, "SPRINGTIDE_TOKEN": gateway.token}
    published = [
        line.split("\t") for line in _run(built, "node", "built/client.js", "flo", "rope", **where).splitlines()
    ]
    assert {item for item, _ in published} == {"lamp", "rope", "umbrella"}
    assert published[0][0] == "rope", "her own purchase comes first"
    asked = [line.split("\t") for line in _run(built, "node", "built/client.js", "flo", **where).splitlines()]
    assert [item for item, _ in asked] == [item for item, _ in published]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_client_of_connect_gets_an_answer(answers: dict[str, Any], protocol: str) -> None:
    assert len(answers[protocol]["items"]) == 2
    assert answers[protocol]["items"] == answers["connect"]["items"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_client_of_connect_gets_each_answer_of_a_stream(answers: dict[str, Any], protocol: str) -> None:
    assert answers[protocol]["indexes"] == [0, 1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("call", "field"), [("refused", "count"), ("refusedStream", "requests")])
def test_client_of_connect_gets_the_details_of_a_refusal(
    answers: dict[str, Any], protocol: str, call: str, field: str
) -> None:
    refused = answers[protocol][call]
    assert refused["code"] == "InvalidArgument"
    assert refused["message"].startswith(f"{field}: wanted")
    assert sorted(refused["details"]) == ["google.rpc.BadRequest", "google.rpc.ErrorInfo"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_deadline_of_a_client_of_connect_reaches_the_server(answers: dict[str, Any], protocol: str) -> None:
    assert answers[protocol].get("isBehind") or answers[protocol]["isLate"]
    assert answers[protocol]["tookMs"] < 5_000, "without the deadline it would wait for 9 s"


@pytest.mark.parametrize("protocol", ["connect", "grpcweb"])
def test_buf_curl_gets_each_answer_of_a_stream(gateway: Any, protocol: str) -> None:
    if not BUF.exists():
        pytest.skip("needs buf-bin")
    words = ["curl", "--schema", "protos", "--protocol", protocol, "-H", f"authorization: Bearer {gateway.token}"]
    data = json.dumps({"requests": [{"user": "ann", "count": 1}, {"user": "bob", "count": 1}]})
    answer = _run(EXAMPLE.parents[3], str(BUF), *words, "-d", data, f"{gateway.url}/{SERVICE}/RecommendBatch")
    assert answer.count('"answer"') == 2


@pytest.mark.parametrize("protocol", [ProtocolType.CONNECT, ProtocolType.GRPC_WEB])
@pytest.mark.parametrize("codec", [google_protobuf_binary_codec(), google_protobuf_json_codec()], ids=["proto", "json"])
def test_client_of_connect_for_python_gets_answers_and_refusals(
    gateway: Any, protocol: ProtocolType, codec: Any
) -> None:
    once: MethodInfo[pb.RecommendRequest, pb.RecommendResponse] = MethodInfo(
        name="Recommend",
        service_name=SERVICE,
        input=pb.RecommendRequest,
        output=pb.RecommendResponse,
        idempotency_level=IdempotencyLevel.UNKNOWN,
        stream_type=StreamType.UNARY,
    )
    many: MethodInfo[pb.RecommendBatchRequest, pb.RecommendBatchResponse] = MethodInfo(
        name="RecommendBatch",
        service_name=SERVICE,
        input=pb.RecommendBatchRequest,
        output=pb.RecommendBatchResponse,
        idempotency_level=IdempotencyLevel.UNKNOWN,
        stream_type=StreamType.SERVER_STREAM,
    )
    token = {"authorization": f"Bearer {gateway.token}"}
    ask = pb.RecommendRequest(user="ann", count=1)
    with ConnectClientSync(gateway.url, codec=codec, protocol=protocol, timeout_ms=60_000) as client:
        assert len(client.execute_unary(request=ask, method=once, headers=token).items) == 1
        batch = pb.RecommendBatchRequest(requests=[ask, ask])
        assert [each.index for each in client.execute_server_stream(request=batch, method=many, headers=token)] == [
            0,
            1,
        ]
        with pytest.raises(ConnectError) as caught:
            client.execute_unary(request=pb.RecommendRequest(count=-1), method=once, headers=token)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert [detail.type_name for detail in caught.value.details] == ["google.rpc.ErrorInfo", "google.rpc.BadRequest"]
