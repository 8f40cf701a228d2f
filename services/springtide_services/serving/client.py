"""A client of the gRPC services, for the command line."""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from springtide.errors import SettingsError, SpringtideError
from springtide.settings.file import TLS_CA_VARIABLE, TLS_CERT_VARIABLE, TLS_KEY_VARIABLE, TOKEN_VARIABLE
from springtide.v1 import admin_pb2, admin_pb2_grpc, inspection_pb2_grpc, recommender_pb2, recommender_pb2_grpc
from springtide_services.access.roles import ACTOR_METADATA
from springtide_services.addresses import is_loopback, split_address

_TIMEOUT_S = 15.0
_BATCH_TIMEOUT_S = 150.0  # The server ends it sooner: after `server.max_deadline_s` for each thousand of requests.
_CHECKPOINT_TIMEOUT_S = 60.0  # StartTraining writes a checkpoint before it answers.
# gRPC's own pauses of up to two minutes would make a client that starts before the server wait long.
_CHANNEL_OPTIONS = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500))


class ServerCallError(SpringtideError):
    """Raised when the server does not answer, or answers with an error status."""


class AccessRefusedError(ServerCallError):
    """Raised when the server wants a token, or another one."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client shows, and whom it trusts.

    Attributes:
        token: The token that it shows; empty for none.
        tls_ca: File of the authorities that may vouch for the server, in PEM, or ``system`` for those of this machine;
            empty for a connection without TLS.
        tls_cert: File of the certificate that it shows, in PEM, for mutual TLS; empty for none.
        tls_key: File of that certificate's key.
    """

    token: str = dataclasses.field(default="", repr=False)
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""

    def __post_init__(self) -> None:
        if (self.tls_cert == "") != (self.tls_key == "") or (self.tls_cert and not self.tls_ca):
            raise SettingsError("TLS: wanted a certificate, its key and --tls-ca together, or none of the first two")
        if not (self.token.isascii() and self.token.isprintable()):
            raise SettingsError("token: wanted one as `springtide tokens new` prints it")

    @classmethod
    def from_environment(cls) -> Self:
        """Return what the environment gives: the variables of the options ``--token`` and ``--tls-…``."""
        variables = TOKEN_VARIABLE, TLS_CA_VARIABLE, TLS_CERT_VARIABLE, TLS_KEY_VARIABLE
        return cls(*(os.environ.get(variable, "") for variable in variables))

    def channel(self, address: str, *, is_plain: bool = False) -> grpc.Channel:
        """Return a channel, which connects at its first call.

        Args:
            address: Whom to call, ``host:port``.
            is_plain: Whether to connect without TLS all the same.

        Raises:
            SettingsError: If a file cannot be read.
        """
        credentials = None if is_plain else self._of_channel()
        if credentials is None:
            return grpc.insecure_channel(address, _CHANNEL_OPTIONS)
        return grpc.secure_channel(address, credentials, _CHANNEL_OPTIONS)

    def aio_channel(
        self, address: str, options: Sequence[tuple[str, int]], *, is_plain: bool = False
    ) -> grpc.aio.Channel:
        """Return a channel for the event loop that runs, as ``channel`` does.

        Args:
            address: Whom to call, ``host:port``.
            options: Options of gRPC.
            is_plain: Whether to connect without TLS all the same.

        Raises:
            SettingsError: If a file cannot be read.
        """
        credentials = None if is_plain else self._of_channel()
        if credentials is None:
            return grpc.aio.insecure_channel(address, options)
        return grpc.aio.secure_channel(address, credentials, options)

    def _of_channel(self) -> grpc.ChannelCredentials | None:
        if not self.tls_ca:
            return None
        roots = None if self.tls_ca == "system" else _read(self.tls_ca)
        own = (_read(self.tls_key), _read(self.tls_cert)) if self.tls_cert else (None, None)
        return grpc.ssl_channel_credentials(roots, *own)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of each call."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()


class Client:
    """Calls a running server.

    Args:
        address: Address of the server, ``host:port``.
        admin_address: Address of its listener for operators; empty if ``address`` is that, or it is never asked.
        credentials: What to show, and whom to trust. On the loopback interface, operators are answered without TLS.

    Attributes:
        address: As given.
        admin_address: The address that calls of AdminService go to.
    """

    def __init__(self, address: str, admin_address: str = "", credentials: Credentials | None = None) -> None:
        credentials = credentials or Credentials()
        self.address = address
        self.admin_address = admin_address or address
        self._metadata = credentials.metadata
        self._channel = credentials.channel(address)
        is_plain = is_loopback(split_address(self.admin_address, 0)[0])
        self._admin_channel = credentials.channel(self.admin_address, is_plain=is_plain)
        self._recommender = recommender_pb2_grpc.RecommenderServiceStub(self._channel)
        self._admin = admin_pb2_grpc.AdminServiceStub(self._admin_channel)
        self._inspection = inspection_pb2_grpc.InspectionServiceStub(self._admin_channel)
        self._health = health_pb2_grpc.HealthStub(self._admin_channel)

    def is_serving(self, within_s: float = _TIMEOUT_S) -> bool:
        """Return whether the server answers, and its health service says SERVING."""
        try:
            answer = self._health.Check(health_pb2.HealthCheckRequest(), timeout=within_s)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def recommend(self, request: recommender_pb2.RecommendRequest) -> recommender_pb2.RecommendResponse:
        """Call Recommend.

        Raises:
            ServerCallError: If the server does not answer, or answers with an error status.
        """
        response: recommender_pb2.RecommendResponse = self._call(self._recommender.Recommend, request)
        return response

    def ask(self, request: Any) -> Any:
        """Call the method of RecommenderService that takes such a request: ``Trending`` for a ``TrendingRequest``.

        Raises:
            ServerCallError: If the server does not answer, or answers with an error status.
        """
        name = type(request).DESCRIPTOR.name.removesuffix("Request")
        return self._call(getattr(self._recommender, name), request)

    def recommend_batch(
        self, request: recommender_pb2.RecommendBatchRequest
    ) -> Iterator[recommender_pb2.RecommendBatchResponse]:
        """Call RecommendBatch, and yield the answers as they come.

        Raises:
            ServerCallError: If the server does not answer, or ends the call with an error status.
        """
        try:
            yield from self._recommender.RecommendBatch(request, timeout=_BATCH_TIMEOUT_S, metadata=self._metadata)
        except grpc.RpcError as error:
            raise _to_error(error, self.address) from error

    def explain(self, request: recommender_pb2.ExplainRequest) -> recommender_pb2.ExplainResponse:
        """Call Explain.

        Raises:
            ServerCallError: If the server does not answer, or answers with an error status.
        """
        response: recommender_pb2.ExplainResponse = self._call(self._recommender.Explain, request)
        return response

    def status(self) -> admin_pb2.GetStatusResponse:
        """Call GetStatus.

        Raises:
            ServerCallError: If the server does not answer, or answers with an error status.
        """
        response: admin_pb2.GetStatusResponse = self._call_admin(self._admin.GetStatus, admin_pb2.GetStatusRequest())
        return response

    def start_training(self, mode: admin_pb2.TrainingMode) -> admin_pb2.StartTrainingResponse:
        """Call StartTraining, which writes a checkpoint first.

        Raises:
            ServerCallError: If the server does not answer, or answers with an error status.
        """
        request = admin_pb2.StartTrainingRequest(mode=mode)
        response: admin_pb2.StartTrainingResponse = self._call_admin(
            self._admin.StartTraining, request, timeout_s=_CHECKPOINT_TIMEOUT_S
        )
        return response

    def serve_rebuild(self, rebuilt: str) -> None:
        """Call ServeRebuild; ``status().rebuild`` then says how far it is.

        Raises:
            ServerCallError: If the server does not answer, or answers with an error status.
        """
        self._call_admin(self._admin.ServeRebuild, admin_pb2.ServeRebuildRequest(rebuilt=rebuilt))

    def steering(self) -> admin_pb2.GetSteeringResponse:
        """Call GetSteering.

        Raises:
            ServerCallError: If the server does not answer, or answers with an error status.
        """
        response: admin_pb2.GetSteeringResponse = self._call_admin(
            self._admin.GetSteering, admin_pb2.GetSteeringRequest()
        )
        return response

    def update_steering(self, request: admin_pb2.UpdateSteeringRequest) -> admin_pb2.UpdateSteeringResponse:
        """Call UpdateSteering.

        Raises:
            ServerCallError: If the server does not answer, or answers with an error status.
        """
        from springtide.model.audit import this_actor  # It imports what knows object stores.

        actor = (ACTOR_METADATA, this_actor().encode("ascii", "replace").decode())
        response: admin_pb2.UpdateSteeringResponse = self._call_admin(
            self._admin.UpdateSteering, request, metadata=actor
        )
        return response

    def steering_changes(self, page_size: int, page_token: str = "") -> admin_pb2.ListSteeringChangesResponse:
        """Call ListSteeringChanges.

        Raises:
            ServerCallError: If the server does not answer, or answers with an error status.
        """
        response: admin_pb2.ListSteeringChangesResponse = self._call_admin(
            self._admin.ListSteeringChanges,
            admin_pb2.ListSteeringChangesRequest(page_size=page_size, page_token=page_token),
        )
        return response

    def experiment(self, name: str, confidence: float) -> admin_pb2.GetExperimentResponse:
        """Call GetExperiment.

        Raises:
            ServerCallError: If the server does not answer, or answers with an error status.
        """
        request = admin_pb2.GetExperimentRequest(name=name, confidence=confidence)
        response: admin_pb2.GetExperimentResponse = self._call_admin(self._admin.GetExperiment, request)
        return response

    def inspect(self, request: Any) -> Any:
        """Call the method of InspectionService that takes such a request: ``GetNode`` for a ``GetNodeRequest``.

        Raises:
            ServerCallError: If the server does not answer, or answers with an error status.
        """
        name = type(request).DESCRIPTOR.name.removesuffix("Request")
        return self._call_admin(getattr(self._inspection, name), request)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()
        self._admin_channel.close()

    def _call(self, method: Any, request: object) -> Any:
        try:
            return method(request, timeout=_TIMEOUT_S, metadata=self._metadata)
        except grpc.RpcError as error:
            raise _to_error(error, self.address) from error

    def _call_admin(
        self, method: Any, request: object, timeout_s: float = _TIMEOUT_S, metadata: tuple[str, str] | None = None
    ) -> Any:
        try:
            all_metadata = self._metadata if metadata is None else (*self._metadata, metadata)
            return method(request, timeout=timeout_s, metadata=all_metadata)
        except grpc.RpcError as error:
            raise _to_error(error, self.admin_address) from error


def _to_error(error: grpc.RpcError, address: str) -> ServerCallError:
    if error.code() == grpc.StatusCode.UNIMPLEMENTED:
        return ServerCallError(
            f"what listens at {address} does not answer that: operators have a listener of their own "
            "(server.admin_host, server.admin_port; by default the port 100 above)"
        )
    if error.code() == grpc.StatusCode.UNAVAILABLE:
        return ServerCallError(f"no server answers at {address}: {error.details()}")
    is_access = error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
    kind = AccessRefusedError if is_access else ServerCallError
    words = error.details() or ""
    if "\n" in words:  # An expression, and a line that points at the place in it.
        return kind(f"the server at {address} refused ({error.code().name}):\n{words}")
    return kind(f"the server at {address} refused: {words} ({error.code().name})")


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SettingsError(f"TLS: {path} cannot be read: {error.strerror}") from error
