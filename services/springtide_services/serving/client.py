"""A client of the gRPC services, for the command line."""

from types import TracebackType
from typing import Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from springtide.errors import SpringtideError
from springtide.v1 import admin_pb2, admin_pb2_grpc, recommender_pb2, recommender_pb2_grpc

_TIMEOUT_S = 15.0
_CHECKPOINT_TIMEOUT_S = 60.0  # StartTraining writes a checkpoint before it answers.


class ServerCallError(SpringtideError):
    """Raised when the server does not answer, or answers with an error status."""


class Client:
    """Calls a running server.

    Args:
        address: Address of the server, ``host:port``.
        admin_address: Address of its listener for operators; empty if ``address`` is that, or it is never asked.

    Attributes:
        address: As given.
        admin_address: The address that calls of AdminService go to.
    """

    def __init__(self, address: str, admin_address: str = "") -> None:
        self.address = address
        self.admin_address = admin_address or address
        # gRPC's own pauses of up to two minutes would make a client that starts before the server wait long.
        options = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)]
        self._channel = grpc.insecure_channel(address, options)
        self._admin_channel = grpc.insecure_channel(self.admin_address, options)  # It connects at its first call.
        self._recommender = recommender_pb2_grpc.RecommenderServiceStub(self._channel)
        self._admin = admin_pb2_grpc.AdminServiceStub(self._admin_channel)
        self._health = health_pb2_grpc.HealthStub(self._channel)

    def is_serving(self) -> bool:
        """Return whether the server answers, and its health service says SERVING."""
        try:
            answer = self._health.Check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_S)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def recommend(self, request: recommender_pb2.RecommendRequest) -> recommender_pb2.RecommendResponse:
        """Call Recommend.

        Raises:
            ServerCallError: If the server does not answer, or answers with an error status.
        """
        try:
            response: recommender_pb2.RecommendResponse = self._recommender.Recommend(request, timeout=_TIMEOUT_S)
        except grpc.RpcError as error:
            raise self._to_error(error, self.address) from error
        return response

    def explain(self, request: recommender_pb2.ExplainRequest) -> recommender_pb2.ExplainResponse:
        """Call Explain.

        Raises:
            ServerCallError: If the server does not answer, or answers with an error status.
        """
        try:
            response: recommender_pb2.ExplainResponse = self._recommender.Explain(request, timeout=_TIMEOUT_S)
        except grpc.RpcError as error:
            raise self._to_error(error, self.address) from error
        return response

    def status(self) -> admin_pb2.GetStatusResponse:
        """Call GetStatus.

        Raises:
            ServerCallError: If the server does not answer, or answers with an error status.
        """
        try:
            response: admin_pb2.GetStatusResponse = self._admin.GetStatus(
                admin_pb2.GetStatusRequest(), timeout=_TIMEOUT_S
            )
        except grpc.RpcError as error:
            raise self._to_error(error, self.admin_address) from error
        return response

    def start_training(self, mode: admin_pb2.TrainingMode) -> admin_pb2.StartTrainingResponse:
        """Call StartTraining, which writes a checkpoint first.

        Raises:
            ServerCallError: If the server does not answer, or answers with an error status.
        """
        try:
            response: admin_pb2.StartTrainingResponse = self._admin.StartTraining(
                admin_pb2.StartTrainingRequest(mode=mode), timeout=_CHECKPOINT_TIMEOUT_S
            )
        except grpc.RpcError as error:
            raise self._to_error(error, self.admin_address) from error
        return response

    def serve_rebuild(self, rebuilt: str) -> None:
        """Call ServeRebuild; ``status().rebuild`` then says how far it is.

        Raises:
            ServerCallError: If the server does not answer, or answers with an error status.
        """
        try:
            self._admin.ServeRebuild(admin_pb2.ServeRebuildRequest(rebuilt=rebuilt), timeout=_TIMEOUT_S)
        except grpc.RpcError as error:
            raise self._to_error(error, self.admin_address) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()
        self._admin_channel.close()

    def _to_error(self, error: grpc.RpcError, address: str) -> ServerCallError:
        if error.code() == grpc.StatusCode.UNIMPLEMENTED:
            return ServerCallError(
                f"what listens at {address} does not answer that: operators have a listener of their own "
                "(server.admin_host, server.admin_port; by default the port 100 above)"
            )
        if error.code() == grpc.StatusCode.UNAVAILABLE:
            return ServerCallError(f"no server answers at {address}: {error.details()}")
        return ServerCallError(f"the server at {address} refused: {error.details()} ({error.code().name})")
