"""What a server, a console and an endpoint of metrics must have before other machines reach them."""

from springtide.errors import SettingsError
from springtide.settings.model import Settings
from springtide.settings.sections.serving import ServerSettings
from springtide.settings.sections.watching import ConsoleSettings
from springtide_services.addresses import is_loopback

_WAY_OUT = (
    "or, if a proxy or the network itself does that, --insecure (server.insecure = true); deploy/README.md shows how"
)


def check_doors(settings: ServerSettings) -> None:
    """Refuse settings that would let anybody in, and those of TLS that do not go together.

    Raises:
        SettingsError: If a listener is public, and not secured, and ``server.insecure`` does not say that it may be; or
            if settings of TLS do not go together, or the engine has no TLS.
    """
    tls = settings.tls
    if (tls.cert is None) != (tls.key is None):
        raise SettingsError("server.tls: wanted cert and key together, got one of them")
    if tls.client_ca is not None and tls.cert is None:
        raise SettingsError("server.tls.client_ca: wanted with server.tls.cert and server.tls.key, got it alone")
    if settings.has_tls and settings.engine == "native":
        raise SettingsError(
            'server.tls: the engine "native" has no TLS (pygrpc-native 0.5): wanted server.engine = "grpcio", or no '
            "server.tls, and a proxy with TLS before it"
        )
    if settings.insecure:
        return
    if not is_loopback(settings.host) and not (settings.has_tls and (settings.has_tokens or tls.client_ca)):
        lacks = (
            "tokens (server.tokens), or certificates of clients (server.tls.client_ca)"
            if settings.has_tls
            else ("TLS (server.tls.cert, server.tls.key) and tokens (server.tokens)")
        )
        raise SettingsError(
            f"server.host: {settings.host} lets other machines in, and anybody would get answers: wanted {lacks}; "
            f"{_WAY_OUT}"
        )
    if not is_loopback(settings.admin_host) and not (settings.has_tls and settings.has_tokens):
        raise SettingsError(
            f"server.admin_host: {settings.admin_host} lets other machines in, and anybody could decide what serves: "
            f"wanted TLS (server.tls.cert, server.tls.key) and tokens (server.tokens); {_WAY_OUT}"
        )


def check_console_door(console: ConsoleSettings, server: ServerSettings) -> None:
    """Refuse a console that other machines reach without TLS and tokens: it does all that operators may do.

    Raises:
        SettingsError: If it is so, and ``server.insecure`` does not say that it may be.
    """
    if server.insecure or is_loopback(console.host) or (server.has_tls and server.has_tokens):
        return
    raise SettingsError(
        f"console.host: {console.host} lets other machines in, and anybody could see what users did, and decide what "
        f"serves: wanted TLS (server.tls.cert, server.tls.key) and tokens (server.tokens); {_WAY_OUT}"
    )


def check_metrics_door(settings: Settings) -> None:
    """Refuse settings that would show metrics to anybody.

    Raises:
        SettingsError: If the port is public, and not secured, and ``server.insecure`` does not say that it may be.
    """
    server, host = settings.server, settings.metrics.host
    if server.insecure or is_loopback(host) or (server.has_tls and server.has_tokens):
        return
    raise SettingsError(
        f"metrics.host: {host} lets other machines in, and anybody could read how much is going on: wanted TLS "
        f"(server.tls.cert, server.tls.key) and tokens (server.tokens); {_WAY_OUT}"
    )
