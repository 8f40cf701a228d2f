"""Who gets in: doors that stand open, certificates and tokens that end."""

import ssl
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from springtide.clock import MS_PER_DAY, MS_PER_SECOND, wall_ms
from springtide.errors import SettingsError
from springtide.settings.model import Settings
from springtide.settings.sections.serving import ServerSettings, TlsSettings
from springtide_services.access.roles import Role
from springtide_services.access.token_file import KnownTokens
from springtide_services.addresses import is_loopback
from springtide_services.doctor.certificates import certificate_end_s
from springtide_services.findings import Finding, Level

_SOON_DAYS = 14


def door_findings(settings: Settings, check: Callable[[ServerSettings], None]) -> Iterator[Finding]:
    """Yield whether the listeners let in only whom they should.

    Args:
        settings: All settings.
        check: Raises SettingsError where the server would refuse to start.
    """
    server = settings.server
    try:
        check(server)
    except SettingsError as error:
        yield Finding("doors", Level.FAILURE, f"the server does not start: {error}")
        return
    public = [host for host in (server.host, server.admin_host) if not is_loopback(host)]
    if not public:
        yield Finding("doors", Level.OK, "only this machine gets in")
    elif server.insecure and not (server.has_tls and server.has_tokens):
        yield Finding(
            "doors",
            Level.WARNING,
            f"{', '.join(public)} lets other machines in without TLS or tokens, since server.insecure says so",
            "See that a proxy or the network keeps others out; or set server.tls and server.tokens.",
        )
    else:
        yield Finding("doors", Level.OK, "other machines get in with TLS, and with tokens or certificates")


def tls_findings(tls: TlsSettings) -> Iterator[Finding]:
    """Yield whether the certificate can be read, and when it ends."""
    if tls.cert is None or tls.key is None:
        return
    try:
        end_s = certificate_end_s(Path(tls.cert), Path(tls.key))
    except (OSError, ssl.SSLError, ValueError) as error:
        yield Finding("certificate", Level.FAILURE, f"{tls.cert} cannot be used: {error}")
        return
    advice = "Renew it; the server reads the new one by itself."
    if end_s is None:
        yield Finding("certificate", Level.FAILURE, f"the certificate {tls.cert} has ended: clients refuse it", advice)
    else:
        yield _end("certificate", f"the certificate {tls.cert}", round(end_s * MS_PER_SECOND), advice)
    yield from _readable_by_others("certificate", Path(tls.key))


def token_findings(settings: Settings) -> Iterator[Finding]:
    """Yield whether tokens can be read, which ones end soon, and whether somebody may operate."""
    tokens = settings.server.tokens
    if not settings.server.has_tokens:
        return
    try:
        known = list(KnownTokens(tokens).by_id.values())
    except SettingsError as error:
        yield Finding(
            "tokens", Level.FAILURE, str(error), "Make the first one.", "springtide tokens new NAME --role admin"
        )
        return
    now_ms = wall_ms()
    good = [token for token in known if not token.why_not(now_ms)]
    for token in known:
        if token.revoked_ms is None and token.expires_ms is not None:
            what = f"token {token.name!r} ({token.id}, {', '.join(token.roles)})"
            if token.expires_ms < now_ms + _SOON_DAYS * MS_PER_DAY:
                yield _end("tokens", what, token.expires_ms, "Make a new one, and revoke this one.")
    if not any(Role.ADMIN in token.roles for token in good):
        yield Finding(
            "tokens",
            Level.WARNING,
            "none that is good has the role admin: nobody can promote a model or change rules",
            "Make one.",
            "springtide tokens new NAME --role admin",
        )
    yield Finding("tokens", Level.OK, f"{len(good)} of {len(known)} are good now")
    if tokens.file is not None:
        yield from _readable_by_others("tokens", Path(tokens.file))


def _end(subject: str, what: str, ends_ms: int, advice: str) -> Finding:
    days = (ends_ms - wall_ms()) / MS_PER_DAY
    if days <= 0:
        return Finding(subject, Level.FAILURE, f"{what} ended {-days:,.0f} days ago: it is refused", advice)
    if days < _SOON_DAYS:
        return Finding(subject, Level.WARNING, f"{what} ends in {days:,.0f} days", advice)
    return Finding(subject, Level.OK, f"{what} ends in {days:,.0f} days")


def _readable_by_others(subject: str, file: Path) -> Iterator[Finding]:
    try:
        mode = file.stat().st_mode
    except OSError:
        return  # Said before.
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        yield Finding(
            subject,
            Level.WARNING,
            f"{file} may be read by every user of this machine",
            "Let only the server's user read it.",
            f"chmod o-rwx {file}",
        )
