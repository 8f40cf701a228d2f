"""The two listeners of a server: one for whoever may ask for recommendations, one for operators."""

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from springtide.errors import SettingsError
from springtide.settings.sections.serving import ServerSettings
from springtide.v1 import admin_pb2, admin_pb2_grpc, inspection_pb2, inspection_pb2_grpc, recommender_pb2
from springtide_services.access.certificates import server_credentials
from springtide_services.access.guard import Guard, GuardInterceptor, Interceptor
from springtide_services.access.public import check_doors
from springtide_services.addresses import is_loopback, join_address
from springtide_services.metrics.calls import CallCounts
from springtide_services.serving.admin_service import AdminService
from springtide_services.serving.engines import for_services, make_grpc_server
from springtide_services.serving.inspection.service import InspectionService
from springtide_services.serving.recommender_service import RecommenderService, add_recommender_service
from springtide_services.serving.standard_services import Health, Reflection

RECOMMENDER = recommender_pb2.DESCRIPTOR.services_by_name["RecommenderService"].full_name
ADMIN = admin_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name
INSPECTION = inspection_pb2.DESCRIPTOR.services_by_name["InspectionService"].full_name
_STANDARD = (health.SERVICE_NAME, reflection.SERVICE_NAME)


class Listeners:
    """Both listeners, on one event loop; nothing that changes the state of the server answers on the public one.

    Whatever the engine, grpcio answers operators: they call seldom, and it can all that a listener may need.

    Attributes:
        address: Address of the public listener, ``host:port`` or ``[IPv6]:port``; empty before ``start``.
        admin_address: Address of the listener for operators, likewise.
        calls: The calls of both.

    Args:
        settings: Settings of the server.
        traced: What makes a span of each call; None for no traces.

    Raises:
        SettingsError: If the engine of the settings is not installed, tokens or certificates cannot be read, or the
            settings would let anybody in.
    """

    def __init__(self, settings: ServerSettings, traced: Interceptor | None = None) -> None:
        self.address = ""
        self.admin_address = ""
        self.calls = CallCounts()
        self._settings = settings
        self._admin_settings = settings.model_copy(update={"engine": "grpcio", "host": settings.admin_host})
        self._traced = traced
        check_doors(settings)
        self._guard = Guard(settings.tokens) if settings.has_tokens else None
        self._credentials = server_credentials(settings.tls) if settings.has_tls else None
        self._watch: asyncio.Task[None] | None = None
        refuse = self.calls.refuse
        self._public = make_grpc_server(settings, self._interceptors(settings), refuse)
        self._admin = make_grpc_server(self._admin_settings, self._interceptors(self._admin_settings), refuse)
        self._reflections: Sequence[Reflection] = ()
        if settings.reflection and not settings.has_tokens:
            self._reflections = (Reflection((RECOMMENDER, *_STANDARD)), Reflection((ADMIN, INSPECTION, *_STANDARD)))

    async def start(
        self, recommender: RecommenderService, admin: AdminService, inspection: InspectionService, health: Health
    ) -> None:
        """Listen, and answer.

        Raises:
            SettingsError: If an address cannot be listened on.
        """
        public, operators = self._services()
        add_recommender_service(recommender, public)
        admin_pb2_grpc.add_AdminServiceServicer_to_server(admin, operators)
        inspection_pb2_grpc.add_InspectionServiceServicer_to_server(inspection, operators)
        for services in (public, operators):
            health_pb2_grpc.add_HealthServicer_to_server(health, services)
        for reflected, services in zip(self._reflections, (public, operators), strict=False):
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflected, services)
        settings = self._settings
        self.address = _listen(self._public, settings.host, settings.port, self._credentials, "server.port")
        # On the loopback interface nobody can listen in, and no certificate is made out to it.
        credentials = None if is_loopback(settings.admin_host) else self._credentials
        self.admin_address = _listen(
            self._admin, settings.admin_host, settings.admin_port_number, credentials, "server.admin_port"
        )
        await self._public.start()
        await self._admin.start()
        if self._guard is not None:
            self._watch = asyncio.create_task(self._guard.watch(), name="tokens")

    async def stop(self, grace_s: float) -> None:
        """Take no more requests, and answer those under way."""
        for reflected in self._reflections:
            reflected.end()
        if self._watch is not None:
            self._watch.cancel()
        await asyncio.gather(self._public.stop(grace_s), self._admin.stop(grace_s))

    def _interceptors(self, settings: ServerSettings) -> Sequence[Interceptor]:
        interceptors: list[Interceptor] = []
        if self._guard is not None:
            read_service = RECOMMENDER if settings.engine == "native" else ""
            interceptors.append(GuardInterceptor(self._guard, read_service, self.calls.refuse))
        if self._traced is not None:  # Behind the guard, whose refusals its wrapper cannot call.
            interceptors.append(self._traced)
        return interceptors

    def _services(self) -> tuple[Any, Any]:
        return (
            for_services(self._public, self._settings, self.calls),
            for_services(self._admin, self._admin_settings, self.calls),
        )


def _listen(
    server: grpc.aio.Server, host: str, port: int, credentials: grpc.ServerCredentials | None, setting: str
) -> str:
    """Bind a server, and return the address that it is bound to.

    Raises:
        SettingsError: If the address cannot be listened on.
    """
    wanted = join_address(host, port)
    try:
        if credentials is None:
            return join_address(host, server.add_insecure_port(wanted))
        return join_address(host, server.add_secure_port(wanted, credentials))
    except RuntimeError as error:
        raise SettingsError(
            f"{setting}: cannot listen on {wanted}: another process has it, or the host is not this machine's "
            "(wanted a free port; 0 picks one)"
        ) from error
