"""Who gets in at each door of a server process, and what they get: the public listener, and the one for operators."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from springtide.clock import wall_ms
from springtide.v1 import admin_pb2, inspection_pb2, recommender_pb2
from springtide_services.access.roles import Role
from springtide_services.access.token_file import add_token
from springtide_services.access.tokens import make_token
from springtide_services.addresses import free_port

NoteDoor = Callable[[str, str, str, str], None]
BUDGET_S = 120
SPRINGTIDE = Path(sys.executable).with_name("springtide")


@dataclass
class Place:
    """A server process and the commands beside it, in a folder of their own."""

    folder: Path
    environment: dict[str, str]
    address: str
    admin_address: str
    process: subprocess.Popen[bytes] | None = None
    tokens: dict[str, str] = field(default_factory=dict)

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the command line to its end."""
        return subprocess.run(
            [SPRINGTIDE, *words],
            cwd=self.folder,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=BUDGET_S,
        )

    def log(self) -> str:
        return (self.folder / "server.log").read_text()

    def make_token(self, *roles: str, **options: str) -> str:
        """Make a token by the command line, and return it."""
        words = [word for role in roles for word in ("--role", role)]
        words += [word for name, value in options.items() for word in (f"--{name}", value)]
        made = self.run("tokens", "new", "--name", "-".join(roles), *words)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    def is_serving(self, channel: grpc.Channel) -> bool:
        with contextlib.suppress(grpc.RpcError):
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
        return False

    def wait_until_serving(self, channel: grpc.Channel) -> None:
        assert self.process is not None
        until(lambda: self.is_serving(channel) or self.process.poll() is not None)
        assert self.process.poll() is None, self.log()


def until(is_so: Callable[[], Any]) -> None:
    deadline = time.monotonic() + BUDGET_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(params=["grpcio", "native"])
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "native":
        pytest.importorskip("pygrpc_native")
    return str(request.param)


class Places:
    """Starts server processes, each in a folder of its own, and ends them all.

    Args:
        broker: Bootstrap servers.
        folder: For the folders.
    """

    def __init__(self, broker: str, folder: Path) -> None:
        self._broker, self._folder = broker, folder
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, *tokens: tuple[str, ...], **server: str) -> Place:
        """Start a server: ``start(("client",), engine="native")``, its tokens, and settings of ``[server]``."""
        folder, port, admin_port = self._folder / str(len(self._processes)), free_port(), free_port()
        folder.mkdir()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SPRINGTIDE_")}
        environment |= {
            "SPRINGTIDE_KAFKA__BOOTSTRAP_SERVERS": self._broker,
            "SPRINGTIDE_KAFKA__TOPIC": f"test.doors-{os.getpid()}-{port}",
            "SPRINGTIDE_KAFKA__DEAD_LETTER_TOPIC": f"test.doors-dead-{os.getpid()}-{port}",
            "SPRINGTIDE_CHECKPOINT__URL": str(folder / "checkpoints"),
            "SPRINGTIDE_MODEL__URL": str(folder / "models"),
            "SPRINGTIDE_SERVER__PORT": str(port),
            "SPRINGTIDE_SERVER__ADMIN_PORT": str(admin_port),
            **{f"SPRINGTIDE_SERVER__{name.upper()}": value for name, value in server.items()},
        }
        place = Place(folder, environment, f"127.0.0.1:{port}", f"127.0.0.1:{admin_port}")
        if tokens:
            environment["SPRINGTIDE_SERVER__TOKENS__FILE"] = str(folder / "tokens")
            for roles in tokens:
                token, kept = make_token("-".join(roles), tuple(map(Role, roles)), wall_ms())
                add_token(folder / "tokens", kept)
                place.tokens["+".join(roles)] = token
        with (folder / "server.log").open("w") as log:
            place.process = subprocess.Popen([SPRINGTIDE, "serve"], cwd=folder, env=environment, stderr=log)
        self._processes.append(place.process)
        return place

    def end(self) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(BUDGET_S)
            finally:
                process.kill()
                process.wait()


@pytest.fixture
def serving(broker: str, tmp_path: Path) -> Iterator[Callable[..., Place]]:
    """Start a server process: ``serving(("client",), engine="native")``: its tokens, and settings of ``[server]``."""
    places = Places(broker, tmp_path)
    yield places.start
    places.end()


@pytest.fixture(scope="module", params=["grpcio", "native"])
def guarded(broker: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A server with a token for each role, which several tests share; with each engine."""
    if request.param == "native":
        pytest.importorskip("pygrpc_native")
    places = Places(broker, tmp_path_factory.mktemp(f"guarded-{request.param}"))
    place = places.start(*((role,) for role in MAY), engine=request.param)
    try:
        with grpc.insecure_channel(place.address) as public:
            place.wait_until_serving(public)
        yield place
    finally:
        places.end()


def methods_of(file: Any, service: str) -> dict[str, str]:
    """Return the methods of a service by name, each with its path."""
    described = file.DESCRIPTOR.services_by_name[service]
    return {method.name: f"/{described.full_name}/{method.name}" for method in described.methods}


ADMIN_METHODS = methods_of(admin_pb2, "AdminService")
INSPECTION_METHODS = methods_of(inspection_pb2, "InspectionService")
FOR_OPERATORS = {**ADMIN_METHODS, **INSPECTION_METHODS}
RECOMMENDER_METHODS = methods_of(recommender_pb2, "RecommenderService")


def knock(channel: grpc.Channel, path: str, body: bytes = b"", **options: Any) -> grpc.Future:
    """Call a method with the bytes of a request; refused calls wait for their answer, so several are made at once."""
    return channel.unary_unary(path).future(body, timeout=60, **options)


def outcome(call: grpc.Future) -> tuple[grpc.StatusCode, str]:
    """Return the status of a call and what was said."""
    return call.code(), call.details()  # type: ignore[attr-defined,no-any-return]


def tried(channel: grpc.Channel, path: str, body: bytes = b"", **options: Any) -> tuple[grpc.StatusCode, str]:
    """Call a method with the bytes of a request, and return the status and what was said."""
    return outcome(knock(channel, path, body, **options))


def test_operators_are_answered_on_their_listener_alone(
    serving: Callable[..., Place], engine: str, note_door: NoteDoor
) -> None:
    place = serving(engine=engine)
    with grpc.insecure_channel(place.address) as public, grpc.insecure_channel(place.admin_address) as admin:
        place.wait_until_serving(public)
        assert place.is_serving(admin)
        for name, path in FOR_OPERATORS.items():
            code, _ = tried(public, path)
            note_door("anybody, where there are no tokens", f"public: {name}", "calls", code.name)
            assert code == grpc.StatusCode.UNIMPLEMENTED, name
            assert tried(admin, path)[0] not in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNKNOWN), name
        for name, path in RECOMMENDER_METHODS.items():
            assert tried(admin, path)[0] == grpc.StatusCode.UNIMPLEMENTED, name
            assert tried(public, path)[0] in (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT), name
    shown = place.run("status")
    assert shown.returncode == 0, shown.stderr
    assert "serves" in shown.stdout
    wrong = place.run("status", "--address", place.address)
    assert wrong.returncode == 1
    assert "server.admin_port" in wrong.stderr


def bearer(token: str) -> dict[str, Any]:
    return {"metadata": (("authorization", f"Bearer {token}"),)}


SHOWS_USERS = {"Explain", "SimilarUsers"}  # What they did, and who they are.
SHOWS_NODES = {"SearchNodes", "GetNode", "GetNeighbourhood"}  # Users are nodes, too.
INSPECTS = set(INSPECTION_METHODS) - SHOWS_NODES
MAY = {
    "client": set(RECOMMENDER_METHODS) - SHOWS_USERS,
    "explain": {*RECOMMENDER_METHODS, *SHOWS_NODES, "ListAttributes"},
    "producer": set(),
    "operator": {
        *("GetStatus", "ListModels", "StartTraining", "GetSteering", "ListSteeringChanges", "GetExperiment"),
        *INSPECTS,
    },
    "admin": {*ADMIN_METHODS, *INSPECTS},
}


def test_each_role_gets_what_it_is_for_and_nobody_else_does(guarded: Place, note_door: NoteDoor) -> None:
    place, guessed = guarded, bearer(f"springtide_{'0' * 12}_{'0' * 64}")
    tries: list[tuple[str, str, str, str, grpc.Future]] = []
    with grpc.insecure_channel(place.address) as public, grpc.insecure_channel(place.admin_address) as admin:
        assert place.is_serving(admin), "probes have no token"
        doors = {"public": (public, RECOMMENDER_METHODS), "operators": (admin, FOR_OPERATORS)}
        for listener, (channel, methods) in doors.items():
            for name, path in methods.items():
                tries.append(("nobody", listener, name, "without a token", knock(channel, path)))
                tries.append(("nobody", listener, name, "with a guessed token", knock(channel, path, **guessed)))
                for role, token in place.tokens.items():
                    call = knock(channel, path, **bearer(token))
                    tries.append((role, listener, name, "with its token", call))
        for name, path in FOR_OPERATORS.items():  # Not even with the best token.
            best = "explain" if name in SHOWS_NODES else "admin"
            call = knock(public, path, **bearer(place.tokens[best]))
            tries.append((best, "public", name, "with its token", call))
        for who, listener, name, how, call in tries:
            code, said = outcome(call)
            is_let_in = code in (
                grpc.StatusCode.OK,
                grpc.StatusCode.INVALID_ARGUMENT,
                grpc.StatusCode.FAILED_PRECONDITION,
                grpc.StatusCode.NOT_FOUND,
            )
            note_door(who, f"{listener}: {name}", how, f"let in ({code.name})" if is_let_in else code.name)
            where = f"{who} {how} at {listener} {name}: {code} {said}"
            if who == "nobody":
                assert code == grpc.StatusCode.UNAUTHENTICATED, where
                assert how == "without a token" or said == "no such token", where
            elif name not in doors[listener][1]:
                assert code == grpc.StatusCode.UNIMPLEMENTED, where
            else:
                assert is_let_in == (name in MAY[who]), where
                assert is_let_in or "wanted one with the role" in said, where
        for channel in (public, admin):
            reflect = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
            code = reflect(iter(())).code()
            note_door("nobody", f"{'public' if channel is public else 'operators'}: reflection", "asks", code.name)
            assert code != grpc.StatusCode.OK
    for token in place.tokens.values():
        assert token.rpartition("_")[2] not in place.log(), "no secret is in the log"
    assert "call_refused" in place.log()


def test_commands_show_their_token(serving: Callable[..., Place]) -> None:
    place = serving(("client",), ("operator",))
    with grpc.insecure_channel(place.address) as public:
        place.wait_until_serving(public)
    assert place.run("status").returncode == 1
    assert place.run("status", "--token", place.tokens["client"]).returncode == 1
    shown = place.run("status", SPRINGTIDE_TOKEN=place.tokens["operator"])
    assert shown.returncode == 0, shown.stderr
    asked = place.run("recommend", "ann", SPRINGTIDE_TOKEN=place.tokens["client"])
    assert asked.returncode == 0, asked.stderr
    explained = place.run("explain", "ann", "tea", "--token", place.tokens["client"])
    assert (explained.returncode, "role explain" in explained.stderr) == (1, True), "histories are not for all"


def test_tokens_are_added_and_revoked_without_a_restart(guarded: Place, note_door: NoteDoor) -> None:
    place, recommend = guarded, RECOMMENDER_METHODS["Recommend"]

    def code(token: str) -> grpc.StatusCode:
        return tried(public, recommend, **bearer(token))[0]

    with grpc.insecure_channel(place.address) as public:
        new = place.make_token("client", "explain")
        until(lambda: code(new) == grpc.StatusCode.OK)
        assert place.run("tokens", "revoke", "client-explain").returncode == 0
        until(lambda: code(new) == grpc.StatusCode.UNAUTHENTICATED)
        got, said = tried(public, recommend, **bearer(new))
        note_door("client", "public: Recommend", "with a revoked token", got.name)
        assert said == "this token is revoked"
        assert code(place.tokens["client"]) == grpc.StatusCode.OK


def test_token_that_asks_too_often_is_told_when_to_come_again(guarded: Place, note_door: NoteDoor) -> None:
    place = guarded
    slow = place.make_token("explain", rate="0.01")
    with grpc.insecure_channel(place.address) as public:
        recommend = RECOMMENDER_METHODS["Recommend"]
        until(lambda: tried(public, recommend, **bearer(slow))[0] == grpc.StatusCode.OK)
        with pytest.raises(grpc.RpcError) as refused:
            public.unary_unary(recommend)(b"", timeout=60, **bearer(slow))
        note_door("client", "public: Recommend", "more often than its rate", refused.value.code().name)
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert 1 <= int(dict(refused.value.trailing_metadata())["retry-after"]) <= 100
        assert tried(public, recommend, **bearer(place.tokens["client"]))[0] == grpc.StatusCode.OK


def test_who_guesses_waits_and_holds_up_nobody_else(guarded: Place, note_door: NoteDoor) -> None:
    place = guarded
    recommend = RECOMMENDER_METHODS["Recommend"]
    with grpc.insecure_channel(place.address) as public:
        guesses = [knock(public, recommend, **bearer("guess")) for _ in range(200)]
        assert tried(public, recommend, **bearer(place.tokens["client"]))[0] == grpc.StatusCode.OK
        assert {outcome(guess)[0] for guess in guesses} == {grpc.StatusCode.UNAUTHENTICATED}
        started_s = time.monotonic()
        assert tried(public, recommend, **bearer("guess"))[0] == grpc.StatusCode.UNAUTHENTICATED
        assert time.monotonic() - started_s >= 0.9, "the next guess waits a second"
    note_door("nobody", "public: Recommend", "guesses 200 tokens", "UNAUTHENTICATED, a second later each")


class Authority:
    """A certificate authority, and the certificates that it signs, as files in a folder."""

    def __init__(self, folder: Path) -> None:
        trustme = pytest.importorskip("trustme")
        self._authority = trustme.CA()
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self.file = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(self.file)

    def sign(self, name: str, *identities: str) -> tuple[str, str]:
        """Write a certificate and its key, each as one step, and return their paths."""
        made = self._authority.issue_cert(*identities)
        chain = b"".join(each.bytes() for each in made.cert_chain_pems)
        paths = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        for path, content in zip(paths, (chain, made.private_key_pem.bytes()), strict=True):
            path.with_suffix(".new").write_bytes(content)
            path.with_suffix(".new").replace(path)
        return str(paths[0]), str(paths[1])


@contextlib.contextmanager
def with_tls(address: str, authority: Path, own: tuple[str, str] | None = None) -> Iterator[grpc.Channel]:
    certificate, key = (Path(file).read_bytes() for file in own) if own else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.read_bytes(), key, certificate)
    with grpc.secure_channel(address, credentials, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield channel


def test_tls_is_spoken_and_nothing_else_and_changed_certificates_hold_without_a_restart(
    serving: Callable[..., Place], tmp_path: Path, note_door: NoteDoor
) -> None:
    ours, others = Authority(tmp_path / "ours"), Authority(tmp_path / "others")
    certificate, key = ours.sign("server", "127.0.0.1")
    place = serving(("client",), ("operator",), tls__cert=certificate, tls__key=key)
    recommend, token = RECOMMENDER_METHODS["Recommend"], bearer(place.tokens["client"])
    with with_tls(place.address, ours.file) as channel:
        place.wait_until_serving(channel)
        assert tried(channel, recommend, **token)[0] == grpc.StatusCode.OK
        assert tried(channel, recommend)[0] == grpc.StatusCode.UNAUTHENTICATED
    with grpc.insecure_channel(place.address) as channel:
        code, _ = tried(channel, recommend, **token)
        note_door("client", "public, with TLS", "without TLS", code.name)
        assert code == grpc.StatusCode.UNAVAILABLE
    with with_tls(place.address, others.file) as channel:
        assert tried(channel, recommend, **token)[0] == grpc.StatusCode.UNAVAILABLE
    asked = place.run("recommend", "ann", "--tls-ca", str(ours.file), "--token", place.tokens["client"])
    assert asked.returncode == 0, asked.stderr
    unasked = place.run("recommend", "ann", "--token", place.tokens["client"])
    assert unasked.returncode == 1, "this machine's authorities do not know ours"
    shown = place.run("status", SPRINGTIDE_TOKEN=place.tokens["operator"], SPRINGTIDE_TLS_CA=str(ours.file))
    assert shown.returncode == 0, "operators on this machine need no TLS"

    Path(certificate).write_text("half a certificate")  # Its key is another one now: the former ones stay.
    with with_tls(place.address, ours.file) as channel:
        assert tried(channel, recommend, **token)[0] == grpc.StatusCode.OK
    assert "certificates_not_read" in place.log()
    renewed = Authority(tmp_path / "ours")
    renewed.sign("server", "127.0.0.1")
    with with_tls(place.address, renewed.file) as channel:
        assert tried(channel, recommend, **token)[0] == grpc.StatusCode.OK
    assert "certificates_read" in place.log()


def test_mutual_tls_lets_in_who_has_a_certificate_of_ours(
    serving: Callable[..., Place], tmp_path: Path, note_door: NoteDoor
) -> None:
    ours, others = Authority(tmp_path / "ours"), Authority(tmp_path / "others")
    certificate, key = ours.sign("server", "127.0.0.1")
    place = serving(tls__cert=certificate, tls__key=key, tls__client_ca=str(ours.file), host="0.0.0.0")
    recommend, client = RECOMMENDER_METHODS["Recommend"], ours.sign("client", "shop@example.org")
    with with_tls(place.address, ours.file, client) as channel:
        place.wait_until_serving(channel)
        assert tried(channel, recommend)[0] == grpc.StatusCode.OK
    for how, certificates in {"without a certificate": (), "with another's certificate": (others,)}.items():
        shown = [authority.sign("client", "shop@example.org") for authority in certificates]
        with with_tls(place.address, ours.file, *shown) as channel:
            code, _ = tried(channel, recommend)
        note_door("client", "public, with mutual TLS", how, code.name)
        assert code == grpc.StatusCode.UNAVAILABLE
    options = ["--address", place.address, "--tls-ca", str(ours.file)]
    asked = place.run("recommend", "ann", *options, "--tls-cert", client[0], "--tls-key", client[1])
    assert asked.returncode == 0, asked.stderr
    assert place.run("recommend", "ann", *options).returncode == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"host": "0.0.0.0"}, "server.host: 0.0.0.0 lets other machines in"),
        ({"host": "::"}, "--insecure"),
        ({"admin_host": "0.0.0.0"}, "server.admin_host: 0.0.0.0 lets other machines in"),
        ({"engine": "native", "tls__cert": "c", "tls__key": "k"}, 'the engine "native" has no TLS'),
        ({"tls__cert": "c"}, "cert and key together"),
        ({"tls__client_ca": "c"}, "server.tls.client_ca"),
        ({"tls__cert": "nothing.pem", "tls__key": "nothing.key"}, "nothing.pem cannot be read"),
        ({"tokens__file": "nothing"}, "server.tokens.file: nothing cannot be read"),
    ],
)
def test_server_that_would_let_anybody_in_does_not_start(
    serving: Callable[..., Place], settings: dict[str, str], words: str, note_door: NoteDoor
) -> None:
    place = serving(**settings)
    assert place.process is not None
    how = ", ".join(f"server.{name.replace('__', '.')}={value}" for name, value in settings.items())
    note_door("who sets up a server in haste", "the start of a server", how, "refused, exit code 2")
    assert place.process.wait(BUDGET_S) == 2
    assert words in place.log()


def test_insecure_says_that_something_else_sees_to_it(serving: Callable[..., Place], engine: str) -> None:
    place = serving(host="0.0.0.0", insecure="true", engine=engine)
    with grpc.insecure_channel(place.address) as public:
        place.wait_until_serving(public)
        assert tried(public, RECOMMENDER_METHODS["Recommend"])[0] == grpc.StatusCode.OK


def test_errors_show_no_place_of_the_server(serving: Callable[..., Place], note_door: NoteDoor) -> None:
    place = serving()
    with grpc.insecure_channel(place.admin_address) as admin:
        place.wait_until_serving(admin)
        model = place.folder / "models" / "000001"
        model.mkdir(parents=True)
        (model / "manifest.json").write_text("{")
        damaged = admin_pb2.PromoteModelRequest(version="000001").SerializeToString()
        code, promoted = tried(admin, ADMIN_METHODS["PromoteModel"], damaged)
        assert code == grpc.StatusCode.FAILED_PRECONDITION
        until(lambda: not (place.folder / "checkpoints").exists() or list((place.folder / "checkpoints").iterdir()))
        shutil.rmtree(place.folder / "checkpoints")
        (place.folder / "checkpoints").write_text("no folder")
        code, trained = tried(admin, ADMIN_METHODS["StartTraining"])
        assert code == grpc.StatusCode.FAILED_PRECONDITION
    note_door("operator", "operators: PromoteModel, StartTraining", "reads errors for folders", "none are in them")
    for said in (promoted, trained):
        assert str(place.folder) not in said
        assert "..." in said, "it is said that something was left out"
        assert str(place.folder) in place.log(), "who runs the server is told all"
