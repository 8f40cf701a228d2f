"""Who may call the routes that this process answers itself, by the tokens and roles of the server."""

import math

from starlette.requests import Request
from starlette.responses import Response

from springtide.settings.sections.serving import ServerSettings
from springtide_services.access.guard import Guard, Refusal
from springtide_services.access.roles import ACTOR_METADATA
from springtide_services.gateway.refusals import RETRY_AFTER, refusal

_STATUS = {"UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403, "RESOURCE_EXHAUSTED": 429}
_MAX_ACTOR = 100  # Characters.


class RouteGuard:
    """Lets requests pass that show a good token; all, where the settings name no tokens.

    Args:
        settings: Name the tokens.

    Raises:
        SettingsError: If the tokens cannot be read.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._guard = Guard(settings.tokens) if settings.has_tokens else None

    async def admit(self, route: str, request: Request) -> str | Response:
        """Return who calls, for audit lines; or the response that refuses.

        Args:
            route: The route, as ``access.roles.ROLES_OF_ROUTES`` names it.
            request: The request.
        """
        peer = "unknown" if request.client is None else request.client.host
        if self._guard is None:
            said = request.headers.get(ACTOR_METADATA, "")[:_MAX_ACTOR]
            return f"{said}, {peer}" if said and said.isprintable() else peer
        found = self._guard.admit(route, request.headers.items())
        if not isinstance(found, Refusal):
            return f"{found.name}, {peer}"
        await self._guard.note(found, route, peer)
        headers = {RETRY_AFTER: str(math.ceil(found.retry_s))} if found.retry_s else None
        return refusal(found.code.name.lower(), found.message, _STATUS[found.code.name], headers)

    async def watch(self) -> None:
        """Take over changes of the file of tokens, until cancelled."""
        if self._guard is not None:
            await self._guard.watch()
